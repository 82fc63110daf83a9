"""The data card of a release: what its model was trained and tested on, as Croissant 1.0 JSON-LD.

Croissant (http://mlcommons.org/croissant/1.0) demands a name, a description, a licence, an address, a creator and a
date of publication. A source that is a folder or an archive says none of the last four: the card says so, gives the
data's digest for an address, and for a date that of the release which it stands beside.
"""

import json
from collections.abc import Mapping
from typing import Any

from fer import errors, plain_text
from fer.ingest import sources
from fer.reports.cards import model_card

FILE = "croissant.json"
NOT_STATED = "not stated by the source"
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isEnumeration": "cr:isEnumeration",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
# Of a release's files those that say which images there were -> a column: its type, and what it says.
_FILES = {
    "trained_on.parquet": {
        "pixel_sha256": ("sc:Text", "SHA-256 of an image's pixels"),
        "split": ("cr:Split", "train, or validation for images that the model was only chosen by"),
    },
    "tested_on.parquet": {"pixel_sha256": ("sc:Text", "SHA-256 of a test image's pixels")},
    "predictions.parquet": {
        "image_id": ("sc:Text", "identity of a test image"),
        "class_index": ("cr:Label", "its label, as the index of a class"),
        "predicted": ("sc:Integer", "the class that the model says"),
        "is_clean": ("sc:Boolean", "whether it is in the de-duplicated test split"),
    },
}


def render(document: Mapping[str, Any]) -> str:
    """The card, as text, of a document as `fer.reports.run.document` makes it."""
    return json.dumps(card(document), indent=1, ensure_ascii=False)


def card(document: Mapping[str, Any]) -> dict[str, Any]:
    """The card as JSON-LD."""
    release, made, data = document["release"], document["made_of"], document["data"]
    digest = made["inputs"].get("index", "")
    known = _kaggle(made["sources"])
    files = {name: release["files"][name] for name in _FILES if name in release["files"]}
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": f"{release['name']}-{digest[:12]}",
        "description": (
            f"What {release['name']} version {release['version']} was trained and tested on: {data['found']:,} images "
            f"found in {_shown(made['sources'])}, {data['accepted']:,} accepted. Faces, each labelled with the "
            "expression that annotators perceived."
        ),
        "license": [{"@type": "sc:CreativeWork", "name": f"{NOT_STATED}; ask whom the images come from"}],
        "url": known[0].page if known else f"urn:sha256:{digest}",
        "creator": [{"@type": "sc:Organization", "name": source.owner} for source in known]
        or [{"@type": "sc:Organization", "name": NOT_STATED}],
        "datePublished": release["created_utc"][:10],
        "version": made["inputs"].get("source", ""),
        "keywords": ["facial expression", *data["classes"]],
        "isBasedOn": [source.page for source in known],
        "identifier": f"sha256:{digest}",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": name,
                "name": name,
                "description": "one row for each image; it holds no picture",
                "contentUrl": file["uri"],
                "contentSize": f"{file['size_bytes']} B",
                "encodingFormat": "application/vnd.apache.parquet",
                "sha256": file["sha256"],
            }
            for name, file in files.items()
        ],
        "recordSet": [_classes(data["classes"]), *(_records(name) for name in files)],
        "rai:dataCollection": f"Sources: {_shown(made['sources'])}. Splits: {data['origin']}.",
        "rai:dataLimitations": "; ".join(plain_text.visible(line) for line in model_card.defects(data)) or "none known",
        "rai:dataBiases": "Labels are the perceptions of annotators. Images by class: "
        + "; ".join(
            f"{split}: " + ", ".join(f"{name} {count:,}" for name, count in by_class.items())
            for split, by_class in data["by_class"].items()
        ),
        "rai:personalSensitiveInformation": "Pictures of faces, which are personal data; none is in these files.",
        "rai:dataUseCases": "To train and to test models of perceived facial expressions.",
    }


def _records(name: str) -> dict[str, Any]:
    record_set = name.partition(".")[0]
    return {
        "@type": "cr:RecordSet",
        "@id": record_set,
        "name": record_set,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{record_set}/{column}",
                "name": column,
                "description": says,
                "dataType": ["sc:Integer", kind]
                if kind == "cr:Label"
                else ["sc:Text", kind]
                if kind == "cr:Split"
                else kind,
                "source": {"fileObject": {"@id": name}, "extract": {"column": column}},
            }
            for column, (kind, says) in _FILES[name].items()
        ],
    }


def _classes(names: list[str]) -> dict[str, Any]:
    """The labels, in the order of their indexes."""
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "the labels",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/index"},
        "field": [
            {"@type": "cr:Field", "@id": "classes/index", "name": "index", "dataType": "sc:Integer"},
            {"@type": "cr:Field", "@id": "classes/name", "name": "name", "dataType": "sc:Text"},
        ],
        "data": [{"classes/index": index, "classes/name": name} for index, name in enumerate(names)],
    }


def _kaggle(given: list[str]) -> list[sources.KaggleSource]:
    """Those of the sources, as they were given, that are on Kaggle."""
    found = []
    for source in given:
        if source.startswith("kaggle:"):
            try:
                parsed = sources.parse(source)
            except errors.FerError:
                continue
            found += [parsed] if isinstance(parsed, sources.KaggleSource) else []
    return found


def _shown(given: list[str]) -> str:
    return plain_text.visible(", ".join(given))
