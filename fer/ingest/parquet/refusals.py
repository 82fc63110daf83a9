"""Why a Parquet file is not read; `opening` turns both into the errors of a source, which name the file."""


class Damaged(Exception):
    """Bytes that are no whole Parquet file."""


class Refused(Exception):
    """A file that must have `must_have`, where this was `received`; `limit` is the limit it exceeds, if it is one."""

    def __init__(self, must_have: str, received: str, limit: str | None = None):
        super().__init__(must_have)
        self.must_have = must_have
        self.received = received
        self.limit = limit
