"""Least-privilege policies of the store, in the language of AWS IAM: what a reader, a trainer and a promoter need.

Each may do what its commands do in the registry, and nothing else in the bucket. What is allowed is understood by
whatever store knows such policies; `APPEND_ONLY` needs Amazon S3, which knows conditional puts as conditions.
"""

from collections.abc import Sequence
from typing import Any, Literal

Role = Literal["reader", "trainer", "promoter"]
ROLES: tuple[Role, ...] = ("reader", "trainer", "promoter")
APPEND_ONLY = ("LogAndVersionsAreNotReplaced", "AliasesAndPinsMoveByComparison")  # the Sids of what they deny
_MODELS, _REPORTS, _PROBES = "models", "reports", ".probe"


def policy(role: Role, bucket: str, prefix: str = "") -> dict[str, Any]:
    """The policy document of a role, for the registry in this bucket and folder of it.

    reader: predicts, pulls, verifies, looks. trainer: that, and what a run does: registers versions, and promotes them.
    promoter: a reader who promotes by name, rolls back, withdraws, pins and signs, and changes no file of a version.
    """
    at = f"arn:aws:s3:::{bucket}/{prefix}/" if prefix else f"arn:aws:s3:::{bucket}/"
    statements = [_list(bucket, prefix), _allow("Read", "s3:GetObject", at, (f"{_MODELS}/*", f"{_REPORTS}/*"))]
    moves = (f"{_MODELS}/*/log/*", f"{_MODELS}/*/aliases/*")
    if role == "trainer":
        versions = (f"{_MODELS}/*/files/*", f"{_MODELS}/*/versions/*")
        statements.append(_allow("Write", "s3:PutObject", at, (*versions, *moves, f"{_REPORTS}/*", f"{_PROBES}/*")))
        # Uploads that broke off are removed, before a manifest names them; what a version names is not told from them.
        statements.append(_allow("RemoveUploads", "s3:DeleteObject", at, (f"{_MODELS}/*/files/*", f"{_PROBES}/*")))
    if role == "promoter":
        signatures = (f"{_MODELS}/*/files/*/.signature-*.json", f"{_MODELS}/*/files/*/.openssf.*.json")
        beside = (f"{_MODELS}/*/pins.json", *signatures)
        statements.append(_allow("Write", "s3:PutObject", at, (*moves, *beside, f"{_PROBES}/*")))
        statements.append(_allow("RemoveProbes", "s3:DeleteObject", at, (f"{_PROBES}/*",)))
    if role != "reader":
        statements += _append_only(at)
    return {"Version": "2012-10-17", "Statement": statements}


def _list(bucket: str, prefix: str) -> dict[str, Any]:
    statement: dict[str, Any] = {
        "Sid": "List",
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": f"arn:aws:s3:::{bucket}",
    }
    return statement | ({"Condition": {"StringLike": {"s3:prefix": f"{prefix}/*"}}} if prefix else {})


def _allow(sid: str, action: str, at: str, keys: Sequence[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": action, "Resource": [f"{at}{key}" for key in keys]}


def _append_only(at: str) -> list[dict[str, Any]]:
    """Denials of puts without the condition that the registry's own puts have."""
    of_log, of_aliases = APPEND_ONLY
    absent, put = {"s3:if-none-match": "true"}, {"Bool": {"s3:ObjectCreationOperation": "true"}}
    deny = {"Effect": "Deny", "Action": "s3:PutObject"}
    log = [f"{at}{_MODELS}/*/{part}/*" for part in ("log", "versions")]
    aliases = [f"{at}{_MODELS}/*/aliases/*", f"{at}{_MODELS}/*/pins.json"]
    return [
        {"Sid": of_log, **deny, "Resource": log, "Condition": {"Null": absent, **put}},
        {
            "Sid": of_aliases,
            **deny,
            "Resource": aliases,
            "Condition": {"Null": {**absent, "s3:if-match": "true"}, **put},
        },
    ]
