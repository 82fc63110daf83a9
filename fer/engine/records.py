"""Records: what this project's configs, Refs and documents in JSON are made of."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A typed record that can't change once it is made. An unknown field is refused, so that a typo is not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
