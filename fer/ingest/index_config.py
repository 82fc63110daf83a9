"""The settings of the stage `index`."""

from pydantic import Field, ValidationInfo, field_validator

from fer.engine.records import Record
from fer.ingest.layouts import detect, ferplus, label_grids
from fer.ingest.naming import path_patterns, split_names, text_encodings


class IndexConfig(Record):
    """Which labels there are, what the sources may call them, and what else is read from them."""

    classes: tuple[str, ...] = Field(min_length=2, description="class names, in the order of the model's outputs")
    synonyms: dict[str, str] = Field(
        default={}, description="spelling in the source -> class, beside the built-in ones such as Suprise -> surprise"
    )
    ignore_labels: tuple[str, ...] = Field(
        default=(), description="labels of the source whose images are left out, as spelled there"
    )
    ignore_unlabelled: bool = Field(
        default=False,
        description="leave out images in no class folder, without a row in a table of labels, or with a blank one",
    )
    exclude: tuple[str, ...] = Field(
        default=(),
        description="files to be left out, as globs: of names (`*_mask.png`, `thumbs`), or with a slash of paths "
        "(`raw/*`); what a folder's glob matches is left out with all that is in it",
    )
    text_encoding: str | None = Field(
        default=None,
        description="encoding of names in a zip and of tables that are not in UTF-8, e.g. gbk or cp1251, where it "
        "can't be told",
    )
    columns: dict[label_grids.Role, str] = Field(
        default={},
        description="columns of the tables of labels by what they are, where their names don't say so: file, label, "
        'split, subject, pixels -> the column\'s name, e.g. {"file": "number"}',
    )
    groups: tuple[str, ...] = Field(
        default=(),
        description="columns of the tables that say which group an image belongs to, of people or of conditions, e.g. "
        "[age, gender]: the model's answers are looked at by each",
    )
    label_pattern: str | None = Field(
        default=None,
        description="regular expression for paths whose first group is the label, e.g. '_([a-z]+)/'; then neither "
        "folders nor tables say it",
    )
    labels_from: detect.LabelsFrom = Field(
        default="most",
        description="whether class folders or tables of labels are used where both label images: of most the ones that "
        "label most of them",
    )
    votes: ferplus.VotesUse = Field(
        default="ignore",
        description="FERPlus's votes for fer2013.csv, or for the images that they name: soft keeps the source's label "
        "and adds their shares; majority takes the label from them as well",
    )
    subject_pattern: str | None = Field(
        default=None,
        description="regular expression for paths whose first group is the subject, e.g. '/(S[0-9]+)_'; empty: paths "
        "hold none, and none is proposed",
    )

    forgotten_likeness: float = Field(
        default=0.92,
        ge=0.85,
        le=1,
        description="likeness to an image that is to be forgotten (`fer data forget`) from which on others are left "
        "out as near-twins of it: a cosine of 24 numbers. Of FER2013 0.92 finds 99 % of near-duplicates as they are, "
        "87 % of moved ones, and one in 11,000 others",
    )

    @field_validator("text_encoding")
    @classmethod
    def _known_encoding(cls, name: str | None) -> str | None:
        return None if name is None else text_encodings.canonical(name)

    @field_validator("label_pattern", "subject_pattern")
    @classmethod
    def _is_bounded(cls, pattern: str | None, field: ValidationInfo) -> str | None:
        says_none = pattern is None or (pattern == "" and field.field_name == "subject_pattern")
        return pattern if says_none or pattern is None else path_patterns.check(pattern)


class OfficialNames(Record):
    """What a user says that a source calls its splits: name -> ours. A folder of such a name is no class."""

    names: dict[str, split_names.Split] = Field(default={})
