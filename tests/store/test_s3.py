"""Against a real server, with a proxy before it where a fault is wanted."""

import pytest

from im2gps_spark.errors import UsageError
from im2gps_spark.photos.reasons import Reason, Rejected
from im2gps_spark.sample.objects import Server
from im2gps_spark.store import s3
from im2gps_spark.store.passing import Patience, TryAgain
from im2gps_spark.store.photos import PhotoStore
from im2gps_spark.store.settings import S3Settings
from tests.store.faults import faulty

PHOTO = bytes(range(256)) * 400
# Names that need care in a URL, and ones of other scripts.
KEYS = ["a/1.jpg", "a b/ü+%25#?.jpg", "写真/é.jpg"]


@pytest.fixture(scope="module")
def bucket(objects: Server) -> Server:
    store = s3.client(S3Settings(endpoint=objects.endpoint))
    for key in KEYS:
        store.put_object(Bucket="photos", Key=key, Body=PHOTO)
    store.put_object(Bucket="photos", Key="empty.jpg", Body=b"")
    return objects


def read(uri: str, server: Server, max_bytes: int = 2**20, **keys: object) -> bytes:
    return s3.read(uri, max_bytes, S3Settings.model_validate({"endpoint": server.endpoint, **keys}), lambda size: None)


@pytest.mark.parametrize("key", KEYS)
def test_an_objects_bytes(bucket, key):
    sizes: list[int] = []
    found = s3.read(f"s3://photos/{key}", 2**20, S3Settings(endpoint=bucket.endpoint), sizes.append)
    assert found == PHOTO
    assert sizes == [len(PHOTO)]


def test_an_empty_object_is_empty(bucket):
    assert read("s3://photos/empty.jpg", bucket) == b""


@pytest.mark.parametrize("uri", ["s3://photos/none.jpg", "s3://no-such-bucket/1.jpg", "s3://photos/a"])
def test_what_is_not_there_is_missing_for_good(bucket, uri):
    with pytest.raises(Rejected) as caught:
        read(uri, bucket)
    assert caught.value.reason == Reason.MISSING_FILE


def test_a_larger_object_is_refused_before_it_is_read(bucket):
    with pytest.raises(Rejected) as caught:
        s3.read(
            "s3://photos/a/1.jpg",
            len(PHOTO) - 1,
            S3Settings(endpoint=bucket.endpoint),
            lambda size: pytest.fail("read"),
        )
    assert caught.value.reason == Reason.TOO_LARGE


@pytest.fixture
def fresh(monkeypatch):
    """Clients are made anew, with what the test puts into the environment."""
    s3.client.cache_clear()
    yield monkeypatch
    s3.client.cache_clear()


def test_whoever_may_not_read_is_told_so_for_good(bucket, fresh):
    for name, value in bucket.guest.environment.items():
        fresh.setenv(name, value)
    with pytest.raises(Rejected) as caught:
        read("s3://photos/a/1.jpg", bucket)
    assert caught.value.reason == Reason.FORBIDDEN


def test_nobody_is_let_in_without_a_signature(bucket, fresh):
    with pytest.raises(Rejected) as caught:
        read("s3://photos/a/1.jpg", bucket, anonymous=True)
    assert caught.value.reason == Reason.FORBIDDEN


@pytest.mark.parametrize("keys", [{"AWS_ACCESS_KEY_ID": "nobody"}, {"AWS_SECRET_ACCESS_KEY": "wrong"}])
def test_wrong_credentials_are_not_the_photos_fault(bucket, fresh, keys):
    for name, value in keys.items():
        fresh.setenv(name, value)
    with pytest.raises(TryAgain):
        read("s3://photos/a/1.jpg", bucket)


def test_missing_credentials_are_not_the_photos_fault(bucket, fresh):
    for name in bucket.keys.environment:
        fresh.delenv(name)
    fresh.setenv("AWS_EC2_METADATA_DISABLED", "true")
    fresh.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(TryAgain, match="NoCredentials"):
        read("s3://photos/a/1.jpg", bucket)


@pytest.mark.parametrize("what", ["503", "429", "500", "cut", "reset"])
def test_what_may_pass_is_to_be_tried_again(bucket, what):
    with faulty(bucket.endpoint, lambda path, time: what) as endpoint, pytest.raises(TryAgain, match=r"a/1\.jpg"):
        s3.read("s3://photos/a/1.jpg", 2**20, S3Settings(endpoint=endpoint), lambda size: None)


def test_a_store_that_is_not_there_may_come_back():
    with pytest.raises(TryAgain):
        s3.read("s3://photos/a/1.jpg", 2**20, S3Settings(endpoint="http://127.0.0.1:9"), lambda size: None)


@pytest.mark.parametrize("what", ["503", "429", "500", "cut", "reset"])
def test_a_patient_store_gets_it_in_the_end(bucket, what):
    waits: list[float] = []
    with faulty(bucket.endpoint, lambda path, time: what if time < 3 else None) as endpoint:
        store = PhotoStore(2**20, S3Settings(endpoint=endpoint), Patience(60.0, 10, sleep=waits.append))
        assert store.read("s3://photos/a/1.jpg") == PHOTO
    assert len(waits) == 3


def test_what_is_refused_for_good_is_asked_for_once(bucket):
    asked = []

    def count(path: str, time: int) -> None:
        asked.append(path)

    with faulty(bucket.endpoint, count) as endpoint:
        store = PhotoStore(2**20, S3Settings(endpoint=endpoint), Patience(60.0, 10))
        with pytest.raises(Rejected):
            store.read("s3://photos/none.jpg")
    assert len(asked) == 1


def test_whether_an_object_is_there(bucket):
    settings = S3Settings(endpoint=bucket.endpoint)
    assert s3.exists("s3://photos/a/1.jpg", settings)
    assert not s3.exists("s3://photos/none.jpg", settings)
    with faulty(bucket.endpoint, lambda path, time: "503") as endpoint:
        assert s3.exists("s3://photos/a/1.jpg", S3Settings(endpoint=endpoint))
    with faulty(bucket.endpoint, lambda path, time: "reset" if time < 2 else None) as endpoint:
        assert s3.exists("s3://photos/a/1.jpg", S3Settings(endpoint=endpoint))
    with pytest.raises(UsageError, match=r"s3\.endpoint"):
        s3.exists("s3://photos/a/1.jpg", S3Settings(endpoint="http://127.0.0.1:9"))


@pytest.mark.parametrize("uri", ["s3://", "s3://photos", "s3://photos/", "s3:///a", "/a/b"])
def test_what_names_no_object_is_refused(uri):
    with pytest.raises(UsageError, match="BUCKET/KEY"):
        s3.bucket_and_key(uri)
