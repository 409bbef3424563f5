"""Objects of S3. Every failure has a class: final, or one that may pass."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from functools import lru_cache
from threading import Lock
from typing import Any, NoReturn

import boto3
from botocore import UNSIGNED
from botocore.client import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError

from im2gps_spark.errors import UsageError
from im2gps_spark.photos.reasons import Reason, Rejected
from im2gps_spark.store.listing import Listed, Page
from im2gps_spark.store.passing import Patience, TryAgain
from im2gps_spark.store.settings import MEND, SCHEME, S3Settings

# As many as threads may read at once (``describe.fetch_threads``).
_CONNECTIONS = 128
_TRIES_TO_ASK = 5
_ONE_AT_A_TIME = Lock()

_MISSING = {"NoSuchKey", "NoSuchBucket", "NotFound", "404"}
_FORBIDDEN = {"AccessDenied", "AllAccessDisabled", "403"}
# What the store may have against the one who asks, not against the photo: put right, the photo can be had.
_OUR_FAULT = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "RequestTimeTooSkewed"}

# Stores say some of what may pass with a status that means a fault of ours.
_PASSING = {"RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "InternalError", "ServiceUnavailable"}


@lru_cache(maxsize=8)
def client(settings: S3Settings, access: str | None = None, secret: str | None = None) -> Any:
    """A client, one a process: clients are safe to share between threads, and slow to make.

    It does not try again by itself: who calls it knows how long is worth waiting (``store.passing``).

    Args:
        access, secret: credentials; those of the standard chain if not given.
    """
    config = ClientConfig(
        signature_version=UNSIGNED if settings.anonymous else "s3v4",
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.read_timeout_s,
        max_pool_connections=_CONNECTIONS,
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path" if settings.endpoint else "auto"},
    )
    session = boto3.Session(aws_access_key_id=access, aws_secret_access_key=secret, region_name=settings.region)
    return session.client("s3", endpoint_url=settings.endpoint or None, config=config)


def shared_client(settings: S3Settings) -> Any:
    """The process' client; threads that begin together would each make one."""
    with _ONE_AT_A_TIME:
        return client(settings)


def bucket_and_key(uri: str) -> tuple[str, str]:
    """The parts of s3://bucket/key.

    Raises:
        UsageError: it has no bucket or no key.
    """
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    if not uri.startswith(SCHEME) or not bucket or not key:
        raise UsageError(f"{uri} is no object of S3: write s3://BUCKET/KEY")
    return bucket, key


class Fault(Enum):
    """What a store's refusal means."""

    MISSING = auto()
    FORBIDDEN = auto()
    MAY_PASS = auto()
    """No connection, a time-out, too many requests, a fault of the store, credentials that it does not know."""


FAILURES = (ClientError, BotoCoreError, OSError)
"""What a client raises."""


def fault_of(error: Exception) -> Fault:
    """The class of one of ``FAILURES``."""
    if not isinstance(error, ClientError):
        return Fault.MAY_PASS
    code, status = _code(error), _status(error)
    if code in _MISSING or status == 404:
        return Fault.MISSING
    if code in _FORBIDDEN or (status == 403 and code not in _OUR_FAULT):
        return Fault.FORBIDDEN
    return Fault.MAY_PASS


def read(uri: str, max_bytes: int, settings: S3Settings, make_room: Callable[[int], None]) -> bytes:
    """The bytes of one object, by one request.

    Args:
        make_room: called with their number before they are read.

    Raises:
        Rejected: there is nothing, or nothing that may be read, or more than ``max_bytes``.
        TryAgain: the failure may pass: no connection, a time-out, too many requests, a fault of the store, a body
            shorter than announced, credentials that are missing or that the store does not know.
    """
    bucket, key = bucket_and_key(uri)
    try:
        answer = shared_client(settings).get_object(Bucket=bucket, Key=key)
        size = int(answer["ContentLength"])
        if size > max_bytes:
            answer["Body"].close()
            raise Rejected(Reason.TOO_LARGE, f"over {max_bytes} bytes")
        make_room(size)
        data: bytes = answer["Body"].read()
    except FAILURES as error:
        _refuse(uri, error)
    if len(data) != size:
        raise TryAgain(f"{uri}: {len(data)} of {size} bytes came")
    return data


def exists(uri: str, settings: S3Settings) -> bool:
    """Whether an object is there and may be read, as far as one answer tells: a store with too much to do may yet.

    Raises:
        UsageError: there is no store.
    """
    bucket, key = bucket_and_key(uri)

    def ask() -> bool:
        try:
            shared_client(settings).head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            return _status(error) not in (403, 404)
        except (BotoCoreError, OSError) as error:  # one lost connection is no store that is not there
            raise TryAgain(f"{type(error).__name__}: {error}") from error
        return True

    try:
        return Patience(2 * settings.connect_timeout_s, _TRIES_TO_ASK).until_it_works(ask)
    except TryAgain as error:
        raise UsageError(f"{uri}: the store can't be asked ({error}); {MEND}") from error


def page(bucket: str, root: str, prefix: str, one_level: bool, following: str | None, settings: S3Settings) -> Page:
    """A page of what a bucket holds, by one request (ListObjectsV2: up to 1000 keys); see ``listing.Ask``.

    Args:
        root: empty, or ends in a slash; keys and prefixes in the answer and ``prefix`` are below it.
        one_level: prefixes stand for what lies deeper.

    Raises:
        UsageError: there is no such bucket, or it may not be listed: asking again is no use.
        TryAgain: the failure may pass.
    """
    options: dict[str, str] = {"Bucket": bucket, "Prefix": root + prefix}
    if one_level:
        options["Delimiter"] = "/"
    if following is not None:
        options["ContinuationToken"] = following
    where = f"{SCHEME}{bucket}/{root}{prefix}"
    try:
        answer = shared_client(settings).list_objects_v2(**options)
    except (NoCredentialsError, ParamValidationError) as error:
        raise UsageError(f"{where} can't be listed ({error}); {MEND}, or photos.root") from error
    except ClientError as error:
        _refuse_list(where, bucket, error)
    except (BotoCoreError, OSError) as error:
        raise TryAgain(f"{where}: {described(error)}") from error
    found = (
        Listed(one["Key"].removeprefix(root), one["Size"], one["LastModified"], one.get("ETag", "").strip('"') or None)
        for one in answer.get("Contents", [])
        if not one["Key"].endswith("/")
    )
    below = [one["Prefix"].removeprefix(root) for one in answer.get("CommonPrefixes", [])]
    return Page(list(found), below, answer["NextContinuationToken"] if answer["IsTruncated"] else None)


def _refuse_list(where: str, bucket: str, error: ClientError) -> NoReturn:
    code, status = _code(error), _status(error)
    if status >= 500 or status in (408, 429) or code in _PASSING:
        raise TryAgain(f"{where}: {status} {code}") from error
    if status == 404 or code in _MISSING:
        raise UsageError(f"{where}: there is no bucket {bucket}; mend photos.root or s3.endpoint") from error
    if status == 403:
        raise UsageError(f"{where} may not be listed ({code}); {MEND}, or let them list it (s3:ListBucket)") from error
    raise UsageError(f"{where} can't be listed ({status} {code}); {MEND}, or s3.region, or photos.root") from error


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def described(error: Exception) -> str:
    """A failure in a few words."""
    return f"{_status(error)} {_code(error)}" if isinstance(error, ClientError) else f"{type(error).__name__}: {error}"


def _refuse(uri: str, error: Exception) -> NoReturn:
    match fault_of(error):
        case Fault.MISSING:
            raise Rejected(Reason.MISSING_FILE, described(error)) from error
        case Fault.FORBIDDEN:
            raise Rejected(Reason.FORBIDDEN, described(error)) from error
        case _:
            raise TryAgain(f"{uri}: {described(error)}") from error
