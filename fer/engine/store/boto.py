"""boto3, and what it raises in this project's errors. The only module that knows boto3."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from fer import errors, plain_text
from fer.engine.store.credentials import Credentials

_CONNECT_TIMEOUT_S = 3
_READ_TIMEOUT_S = 30
_WORDS = 300  # characters of what a store says

ABSENT = ("NoSuchKey", "NotFound", "404")
CONFLICT = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
OTHER_BYTES = ("BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "InvalidRequest", "InvalidArgument", "400")
_TRANSIENT_CODES = ("SlowDown", "Throttling", "RequestTimeout", "RequestTimeoutException", "TooManyRequests")
_REMEDIES: dict[str | int, str] = {  # by error code or, where that says less, HTTP status
    "InvalidAccessKeyId": "check FER_STORE_ACCESS_KEY_ID: the store does not know it",
    "SignatureDoesNotMatch": "check FER_STORE_SECRET_ACCESS_KEY: it does not belong to FER_STORE_ACCESS_KEY_ID",
    "RequestTimeTooSkewed": "set this machine's clock",
    "AuthorizationHeaderMalformed": "check FER_STORE_REGION: the bucket is in another region",
    "PermanentRedirect": "check FER_STORE_REGION: the bucket is in another region",
    401: "check FER_STORE_ACCESS_KEY_ID and its secret",
    403: "check FER_STORE_ACCESS_KEY_ID and its permissions: reading, writing, deleting and listing in the bucket",
    501: "use a store with conditional puts (If-None-Match, If-Match); this one does not have them",
}


def client(endpoint: str, region: str, credentials: Credentials | None, *, attempts: int) -> Any:
    """A client of S3 at `endpoint`, which asks at most `attempts` times."""
    import boto3
    import botocore.session
    from botocore.config import Config

    loopback = urlsplit(endpoint).hostname in ("127.0.0.1", "localhost", "::1")
    config = Config(
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        max_pool_connections=16,
        signature_version="s3v4",
        # Path style and checksums only where given: what every S3-compatible store understands.
        s3={"addressing_style": "path", "payload_signing_enabled": True},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        proxies={} if loopback else None,  # HTTP_PROXY would otherwise be asked for 127.0.0.1
    )
    session = botocore.session.get_session()
    session.register_component("data_loader", _loader())
    return boto3.session.Session(botocore_session=session).client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=credentials.access_key_id if credentials else None,
        aws_secret_access_key=credentials.secret_access_key.get_secret_value() if credentials else None,
        config=config,
    )


def code_of(error: BaseException) -> str:
    """The error code that the store answered with; empty for any other error."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def answer_of(error: BaseException) -> str:
    """What the store answered with: the error code, the HTTP status, and its own words as far as there are any."""
    response = getattr(error, "response", None) or {}
    words = " ".join(str(response.get("Error", {}).get("Message") or "").split())
    said = f": {plain_text.visible(words[:_WORDS]).rstrip('.')}" if words and words != code_of(error) else ""
    return f"{code_of(error)} (HTTP {_status(error)}{said})"


def _status(error: BaseException) -> int:
    response = getattr(error, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextlib.contextmanager
def translated_errors(endpoint: str, bucket: str, uri: str | None = None) -> Iterator[None]:
    """Raise StoreUnavailable or StoreRefused for what boto3 raises; `uri` is that of the object, if it is about one."""
    import boto3.exceptions
    import botocore.exceptions

    try:
        yield
    except boto3.exceptions.S3UploadFailedError as error:
        raise _translated(error.__context__ or error, endpoint, bucket, uri) from error
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise _translated(error, endpoint, bucket, uri) from error


def _translated(error: BaseException, endpoint: str, bucket: str, uri: str | None) -> errors.StoreError:
    import botocore.exceptions as boto

    if isinstance(error, boto.ClientError):
        return _answered(error, endpoint, bucket, uri)
    if isinstance(error, boto.SSLError):
        return errors.StoreUnavailable(
            f"The store at {endpoint} must show a certificate that is trusted here.",
            received=type(error).__name__,
            todo="check FER_STORE_ENDPOINT; for a private authority set AWS_CA_BUNDLE",
        )
    transport = (boto.HTTPClientError, boto.IncompleteReadError, boto.ConnectionError)
    if isinstance(error, transport):
        return errors.StoreUnavailable(
            f"The store at {endpoint} must answer.",
            received=type(error).__name__,
            todo="check that it runs and that FER_STORE_ENDPOINT is right (see `fer doctor`), then try again",
        )
    return errors.StoreRefused(
        f"The store at {endpoint} must be given usable credentials and settings.",
        received=type(error).__name__,
        todo="set FER_STORE_ACCESS_KEY_ID and FER_STORE_SECRET_ACCESS_KEY, or AWS_* variables or a profile",
    )


def _answered(error: Any, endpoint: str, bucket: str, uri: str | None) -> errors.StoreError:
    code, status = code_of(error), _status(error)
    received = f"{answer_of(error)} for {uri or f'bucket {bucket}'}"
    if code == "NoSuchBucket" or (uri is None and code in ABSENT):
        return errors.StoreRefused(
            f"The bucket {bucket!r} must exist at {endpoint}.",
            received=received,
            todo=f"create it (`aws s3 mb s3://{bucket} --endpoint-url {endpoint}`) "
            "or set FER_STORE_BUCKET to one that exists",
        )
    if (status >= 500 and status != 501) or status == 429 or code in _TRANSIENT_CODES:
        return errors.StoreUnavailable(
            f"The store at {endpoint} must be able to serve the request.",
            received=received,
            todo="try again; if it stays, look at the store's log and free space",
        )
    todo = _REMEDIES.get(code) or _REMEDIES.get(status, "check the FER_STORE_… settings (see `fer doctor`)")
    return errors.StoreRefused(f"The store at {endpoint} must accept the request.", received=received, todo=todo)


@functools.cache
def _loader() -> Any:
    """One for all clients: it keeps the parsed description of S3, so that a further client takes 12 ms, not 65."""
    import botocore.loaders

    return botocore.loaders.create_loader()
