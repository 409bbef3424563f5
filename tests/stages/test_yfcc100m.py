"""conf/yfcc100m.toml as it stands, on a bucket laid out as the public one is: some of the sample's photos."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from im2gps_spark.config import load
from im2gps_spark.photos.metadata import COLUMNS_25
from im2gps_spark.photos.reasons import Reason, Rejected, Status
from im2gps_spark.sample.objects import Server
from im2gps_spark.store import s3
from im2gps_spark.store.settings import S3Settings
from im2gps_spark.store.tables import DESCRIPTORS, OUTCOMES, PHOTOS
from tests.stages import Sample, Workshop

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]

CONF = Path(__file__).parents[2] / "conf" / "yfcc100m.toml"
COUNT = 8
BUCKET = "multimedia-commons"


@pytest.fixture(scope="module")
def lines(sample: Sample) -> list[list[str]]:
    """Columns of the metadata of a few good photos."""
    good = {str(photo.photo_id) for photo in sample.plan.corpus.good}
    text = gzip.decompress((sample.folder / "photos" / "corpus.tsv.gz").read_bytes()).decode("utf-8", "replace")
    rows = [row for row in (line.split("\t") for line in text.splitlines()) if len(row) == 25]
    found = {row[1]: row for row in rows if row[1] in good and row[2]}
    return list(found.values())[:COUNT]


@pytest.fixture(scope="module")
def workshop(
    spark: SparkSession,
    objects: Server,
    sample: Sample,
    lines: list[list[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Workshop:
    """A workshop with the configuration's own sections, but for the endpoint, the metadata and our folders."""
    store = s3.client(S3Settings(endpoint=objects.endpoint))
    store.create_bucket(Bucket=BUCKET)
    for row in lines:
        photo_id, code = row[1], row[2]
        picture = (sample.folder / "photos" / "images" / f"{photo_id}.jpg").read_bytes()
        store.put_object(Bucket=BUCKET, Key=f"data/images/{code[:3]}/{code[3:6]}/{code}.jpg", Body=picture)
    folder = tmp_path_factory.mktemp("yfcc100m")
    metadata = folder / "part.tsv"
    metadata.write_text("".join("\t".join(row) + "\n" for row in lines))
    given = load(CONF)
    made = Workshop.opened(
        folder,
        photos=given.photos.model_dump() | {"metadata": [str(metadata)]},
        s3=given.s3.model_dump() | {"endpoint": objects.endpoint},
        describe=given.describe.model_dump(),
    )
    made.run("ingest")
    made.run("describe")
    return made


def test_it_names_the_public_bucket_and_nothing_secret():
    given = load(CONF)
    assert (given.photos.root, given.s3.region, given.s3.anonymous) == (f"s3://{BUCKET}", "us-west-2", True)
    assert given.s3.endpoint == ""
    assert given.photos.key == "data/images/{hash:0:3}/{hash:3:6}/{hash}.jpg"


def test_the_local_bucket_may_be_read_by_anybody_and_no_other_may(workshop, objects, lines):
    settings = S3Settings(endpoint=objects.endpoint, anonymous=True)
    uri = workshop.rows(PHOTOS)[0]["uri"]
    assert s3.read(uri, 2**26, settings, lambda size: None)
    s3.client(S3Settings(endpoint=objects.endpoint)).put_object(Bucket="photos", Key="private.jpg", Body=b"1")
    with pytest.raises(Rejected) as caught:
        s3.read("s3://photos/private.jpg", 2**26, settings, lambda size: None)
    assert caught.value.reason == Reason.FORBIDDEN


def test_photos_are_found_by_their_hashes_and_described(workshop, lines):
    assert len(lines) == COUNT
    code = COLUMNS_25.index("hash")
    expected = {
        int(row[1]): f"s3://{BUCKET}/data/images/{row[code][:3]}/{row[code][3:6]}/{row[code]}.jpg" for row in lines
    }
    assert {row["photo_id"]: row["uri"] for row in workshop.rows(PHOTOS)} == expected
    assert {row["status"] for row in workshop.rows(OUTCOMES)} == {Status.OK}
    assert {row["photo_id"] for row in workshop.rows(DESCRIPTORS)} == set(expected)
