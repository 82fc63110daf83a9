"""The settings of the stage `index`."""

import re

from pydantic import Field, field_validator

from fer.engine.records import Record
from fer.ingest import split_names, text_encodings
from fer.ingest.layouts import ferplus


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
    votes: ferplus.VotesUse = Field(
        default="ignore",
        description="FERPlus's votes for fer2013.csv: soft keeps FER2013's label and adds their shares; majority takes "
        "the label from them as well",
    )
    subject_pattern: str | None = Field(
        default=None, description="regular expression for paths whose first group is the subject, e.g. '/(S[0-9]+)_'"
    )

    @field_validator("text_encoding")
    @classmethod
    def _known_encoding(cls, name: str | None) -> str | None:
        return None if name is None else text_encodings.canonical(name)

    @field_validator("subject_pattern")
    @classmethod
    def _has_a_group(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                n_groups = re.compile(pattern).groups
            except (re.error, RecursionError, OverflowError) as error:
                raise ValueError(f"the regular expression must be valid: {error}") from None
            if not n_groups:
                raise ValueError("the regular expression must have a group around the subject, such as (S[0-9]+)")
        return pattern


class OfficialNames(Record):
    """What a user says that a source calls its splits: name -> ours. A folder of such a name is no class."""

    names: dict[str, split_names.Split] = Field(default={})
