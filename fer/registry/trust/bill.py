"""A bill of materials (SBOM) of the environment that makes a release, in CycloneDX 1.6 as JSON.

Each installed distribution is a component, with its version, its licences as it declares them and its package URL. The
same environment gives the same bill, but for `metadata.timestamp`.
"""

import datetime
import functools
import importlib.metadata
import json
import platform
import re
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License

_ITSELF = "fer-retraining"
_MOST_CHARS = 100  # of a licence's name; some distributions put its text there
_CLASSIFIER = "License :: "


def document(made: datetime.datetime) -> bytes:
    """The bill of this process's environment, made at this time (UTC)."""
    bill = _environment()
    return json.dumps(bill | {"metadata": bill["metadata"] | {"timestamp": made.isoformat()}}, indent=1).encode()


@functools.cache
def _environment() -> dict[str, Any]:
    """The bill, with a date that is to be replaced."""
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.output.json import JsonV1Dot6

    itself, others = _components()
    identity = "\n".join(sorted(component.bom_ref.value or "" for component in (itself, *others)))
    bill = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, identity),
        metadata=BomMetaData(component=itself, timestamp=datetime.datetime.now(datetime.UTC)),
        components=others,
    )
    bill.register_dependency(itself, others)
    return dict(json.loads(JsonV1Dot6(bill).output_as_string()))


def _components() -> "tuple[Component, tuple[Component, ...]]":
    """This project, and what else is installed, each once: the one that is imported."""
    from cyclonedx.model.component import Component, ComponentType

    found: dict[str, importlib.metadata.Distribution] = {}
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        if name:
            found.setdefault(name, distribution)
    itself = found.pop(_ITSELF, None)
    python = Component(
        type=ComponentType.PLATFORM,
        name=platform.python_implementation(),
        version=platform.python_version(),
        bom_ref=f"python@{platform.python_version()}",
    )
    parts = (_component(name, distribution) for name, distribution in sorted(found.items()))
    version = "unknown" if itself is None else itself.version
    project = Component(type=ComponentType.APPLICATION, name=_ITSELF, version=version, bom_ref=_ITSELF)
    return project, (python, *parts)


def _component(name: str, distribution: importlib.metadata.Distribution) -> "Component":
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    purl = PackageURL(type="pypi", name=name, version=distribution.version)
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=distribution.version,
        purl=purl,
        bom_ref=purl.to_string(),
        licenses=_licences(distribution),
    )


def _licences(distribution: importlib.metadata.Distribution) -> "list[License]":
    """As the distribution declares them: an SPDX expression, else what it calls its licence, else its classifiers."""
    from cyclonedx.contrib.license.factories import LicenseFactory

    factory, metadata = LicenseFactory(), distribution.metadata
    declared = (metadata.get_all("License-Expression") or [""])[0]
    if declared:
        return [factory.make_from_string(declared)]
    name = " ".join((metadata.get_all("License") or [""])[0].split())
    if name and name != "UNKNOWN" and len(name) <= _MOST_CHARS:
        return [factory.make_from_string(name)]
    classifiers = metadata.get_all("Classifier") or []
    names = (text.rsplit(" :: ", 1)[-1] for text in classifiers if text.startswith(_CLASSIFIER))
    return [factory.make_with_name(text) for text in sorted(set(names))]
