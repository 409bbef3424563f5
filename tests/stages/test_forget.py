"""Forgetting: no byte is left of a photo or an owner, nothing else is changed, and nothing brings them back."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from im2gps_spark.analyst import connect
from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.index.library import Library
from im2gps_spark.index.owners import Owners
from im2gps_spark.index.search import Index
from im2gps_spark.photos.reasons import Reason, Status
from im2gps_spark.photos.tombstone import owner_tombstone, photo_tombstone
from im2gps_spark.stages import forget as stage
from im2gps_spark.stages.answers import truth_of
from im2gps_spark.stages.run import Run
from im2gps_spark.store.tables import (
    DESCRIPTORS,
    NEIGHBOURS,
    OUTCOMES,
    PHOTOS,
    POSTERIORS,
    REASONS,
    RUNS,
    TABLES,
    TOMBSTONES,
)
from tests.stages import Sample, Workshop, line
from tests.stages.traces import traces

pytestmark = [pytest.mark.spark, pytest.mark.timeout(600)]

FIRST = 6_512_893_047_158_264_300  # eight bytes that are found nowhere else
# Apart, for Parquet's index of a column has cut-off values raised by one.
STEP = 1009
CORPUS, UPLOADS = range(FIRST, FIRST + 24 * STEP, STEP), range(FIRST + 24 * STEP, FIRST + 30 * STEP, STEP)
OWNERS = [f"{7770 + i}77@N77" for i in range(8)]
PHOTO, OWNER = CORPUS[3], OWNERS[5]
UNKNOWN = FIRST + 4000 * STEP
NIGHT = "2026-11-23"
ASKED = (f"forget.photos=[{PHOTO},{UNKNOWN}]", f'forget.owners=["{OWNER}"]')


def number(photo_id: int) -> int:
    return (photo_id - FIRST) // STEP


def owner_of(photo_id: int) -> str:
    return OWNERS[number(photo_id) % len(OWNERS)]


def title_of(photo_id: int) -> str:
    return f"Quite private {number(photo_id):02d}!"


GONE = {i for i in (*CORPUS, *UPLOADS) if i == PHOTO or owner_of(i) == OWNER}


@dataclass(frozen=True)
class Forgotten:
    """A workshop before and after.

    Attributes:
        workshop: as it is after.
        before: the rows of its tables.
        shards: the files of its index versions.
        traces: what was found of those who are gone, before.
        said: all lines of the report.
    """

    workshop: Workshop
    before: dict[str, list[dict[str, Any]]]
    shards: dict[str, dict[str, bytes]]
    traces: dict[str, set[str]]
    said: list[str]


def found(workshop: Workshop) -> dict[str, set[str]]:
    """Traces of those who are to go, in tables and index."""
    texts = [OWNER, *map(title_of, sorted(GONE))]
    here = [traces(workshop.folder / name, sorted(GONE), texts) for name in ("warehouse", "index")]
    return {name: set().union(*(one[name] for one in here)) for name in here[0]}


def ingest(workshop: Workshop, collection: str) -> None:
    workshop.run("ingest", f"photos.collection={collection}", f"photos.metadata={workshop.folder}/{collection}.tsv")


def album(folder: Path, sample: Sample) -> Workshop:
    """Two collections, described, in two index versions, and located: the photos of eight owners in both."""
    pictures = [sample.folder / "photos" / "images" / f"{p.photo_id}.jpg" for p in sample.plan.corpus.good]
    photos = folder / "photos"
    photos.mkdir()
    for photo_id, picture in zip((*CORPUS, *UPLOADS), pictures, strict=False):
        shutil.copy(picture, photos / f"{photo_id}.jpg")
    for name, ids in (("corpus", CORPUS), ("uploads", UPLOADS)):
        lines = [line(i, owner_of(i), 1.0 + 2.0 * number(i), 3.0 * number(i), title=title_of(i)) for i in ids]
        (folder / f"{name}.tsv").write_text("".join(lines))
    workshop = Workshop.opened(
        folder,
        photos={"root": str(photos)},
        describe={"descriptors": ["lite0"]},
        index={"root": str(folder / "index"), "shards": 3, "lists": 6},
        geolocate={"night": NIGHT},
    )
    ingest(workshop, "corpus")
    ingest(workshop, "uploads")
    for name in ("describe", "train", "build"):
        workshop.run(name)
    workshop.run("build", "geolocate.owner_damping=0.25")
    workshop.run("geolocate")
    return workshop


@pytest.fixture(scope="module")
def forgotten(spark: SparkSession, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Forgotten:
    """Forgotten in four goes: three are killed, after the tombstones, within the index and before the snapshots go."""
    workshop = album(tmp_path_factory.mktemp("album"), sample)
    before = {table.name: workshop.rows(table) for table in TABLES}
    shards = contents(workshop)
    needles = found(workshop)
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "say", lambda _self, text: said.append(text))
        kill(workshop, "_out_of_table")
        assert {row["photo_id"] for row in workshop.rows(PHOTOS)} == {*CORPUS, *UPLOADS}
        ingest(workshop, "corpus")  # what is to go does not come in meanwhile
        kill(workshop, "_write_manifest")
        kill(workshop, "_out_of_snapshots")
        workshop.run("forget", *ASKED)
    return Forgotten(workshop, before, shards, needles, said)


def kill(workshop: Workshop, step: str) -> None:
    """A run that does not live to do a step."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, step, killed)
        with pytest.raises(KeyboardInterrupt):
            workshop.run("forget", *ASKED)


def contents(workshop: Workshop) -> dict[str, dict[str, bytes]]:
    """Every file of every index version."""
    library = Library(workshop.folder / "index")
    folders = [library.version_folder(manifest.index_version) for manifest in library.versions()]
    return {str(folder): {name: folder.read(name) for name in folder.names()} for folder in folders}


def test_they_were_everywhere_before(forgotten):
    assert len(GONE) == 5
    for photo_id in GONE & set(CORPUS):
        files = forgotten.traces[str(photo_id)]
        kinds = {name.split("/")[0] + "/" + name.split("/")[1] for name in files}
        assert kinds >= {f"im2gps/{t.name}" for t in (PHOTOS, OUTCOMES, DESCRIPTORS, NEIGHBOURS)}
        assert sum(name.endswith(".faiss") for name in files) == 2
        assert sum(name.endswith(".arrow") for name in files) == 2
    assert any(name.startswith("im2gps/posteriors/") for name in forgotten.traces[str(max(GONE))])
    owned = forgotten.traces[OWNER]
    assert {Path(name).suffix for name in owned} >= {".parquet"}
    every = set().union(*forgotten.traces.values())
    assert {Path(name).suffix for name in every} == {".parquet", ".avro", ".faiss", ".arrow"}
    assert all(forgotten.traces.values())


def test_no_byte_is_left_of_them(forgotten):
    assert {name: files for name, files in found(forgotten.workshop).items() if files} == {}


def test_every_other_row_is_as_it_was(forgotten):
    for table in TABLES:
        if table in (RUNS, REASONS, TOMBSTONES):
            continue
        rows = [row for row in forgotten.workshop.rows(table) if row.get("stage") != "forget"]
        stay = [r for r in forgotten.before[table.name] if not GONE & {r.get("photo_id"), r.get("neighbour_id")}]
        if table is OUTCOMES:
            rows = [row for row in rows if row["reason"] != Reason.FORGOTTEN]
            assert rows
        assert rows == stay
    assert len(forgotten.before["photos"]) == len(forgotten.workshop.rows(PHOTOS)) + len(GONE)


def test_of_them_there_are_tombstones_and_nothing_else(forgotten):
    hashes = {*map(photo_tombstone, GONE | {UNKNOWN}), owner_tombstone(OWNER)}
    rows = forgotten.workshop.rows(TOMBSTONES)
    assert {row["hash"] for row in rows} == hashes
    assert len(rows) == len(hashes)
    outcomes = forgotten.workshop.rows(OUTCOMES, "stage = 'forget'")
    asked = {photo_tombstone(PHOTO), photo_tombstone(UNKNOWN), owner_tombstone(OWNER)}
    assert {row["item"] for row in outcomes} == asked
    for row in outcomes:
        assert (row["status"], row["photo_id"], row["collection"], row["detail"]) == (Status.OK, None, None, None)


def test_the_index_is_whole_and_its_other_shards_are_as_they_were(forgotten):
    library = Library(forgotten.workshop.folder / "index")
    manifests = library.versions()
    assert len(manifests) == 2
    now = contents(forgotten.workshop)
    for manifest in manifests:
        folder = library.version_folder(manifest.index_version)
        manifest.check_files(folder)
        index, held = Index(folder), []
        for shard in range(manifest.shards):
            held += index.parts(shard)[0].photo_id.tolist()
            assert len(index.parts(shard)[0].photo_id) == manifest.rows[shard] == index.parts(shard)[0].index.ntotal
        assert sorted(held) == sorted(set(CORPUS) - GONE)
        before = forgotten.shards[str(folder)]
        (owners,) = set(before) - set(now[str(folder)])
        assert set(now[str(folder)]) == set(before) - {owners} | {manifest.owners}
        known = (
            Owners.from_bytes(files[name]) for files, name in ((before, owners), (now[str(folder)], manifest.owners))
        )
        was, left = ({*map(int, one.owner)} for one in known)
        assert len(was - left) == 1
        assert left < was
        kept = {name for name in before if now[str(folder)].get(name) == before[name]}
        assert {"moments.npz", "trained.faiss", "prior.json"} <= kept


def test_the_report_counts_and_names_nobody(forgotten):
    said = "\n".join(forgotten.said)
    assert "2 photos and 1 owners asked for: 6 photos in all" in said
    assert f"1 of them are in no row of photos, a tombstone bars them all the same: {photo_tombstone(UNKNOWN)}" in said
    assert "photos: 5 rows removed" in said
    assert "descriptors: 5 rows removed" in said
    for manifest in Library(forgotten.workshop.folder / "index").versions():
        assert f"index {manifest.index_version}: 4 photos removed" in said
    assert "0 remains" in said
    assert "not touched: " in said
    for name in (OWNER, *map(str, GONE), str(UNKNOWN), *map(title_of, GONE)):
        assert name not in said


def test_the_same_again_changes_nothing(forgotten):
    workshop = forgotten.workshop
    kept = [table for table in TABLES if table not in (RUNS, REASONS)]
    before, files = {table.name: workshop.rows(table) for table in kept}, contents(workshop)
    tally = workshop.run("forget", *ASKED)
    assert (tally.rows_in, tally.count(Status.OK)) == (3, 3)
    assert {table.name: workshop.rows(table) for table in kept} == before
    assert contents(workshop) == files


def test_a_truth_of_theirs_is_passed_over(forgotten, tmp_path):
    stays = min(set(UPLOADS) - GONE)
    rows = [f"{photo_id},1.0,2.0" for photo_id in (stays, PHOTO, max(GONE))]
    (tmp_path / "truth.csv").write_text("\n".join(["photo_id,latitude,longitude", *rows]))
    with forgotten.workshop.lake() as lake:
        truth = truth_of(lake, forgotten.workshop.config(), str(tmp_path / "truth.csv"))
        assert [row["photo_id"] for row in truth.collect()] == [stays]


def test_nothing_brings_them_back(forgotten):
    """The same metadata, with a line of the owner's that is new; then the rest of the road."""
    workshop = forgotten.workshop
    new = max(UPLOADS) + STEP
    file = workshop.folder / "uploads.tsv"
    file.write_text(
        file.read_text() + line(new, OWNER, 1.0, 2.0, title=title_of(new)) + line(PHOTO, "another@N01", 1.0, 2.0)
    )
    for collection in ("corpus", "uploads"):
        ingest(workshop, collection)
    for name in ("describe", "train", "build"):
        workshop.run(name)
    workshop.run("geolocate", "geolocate.night=2026-11-24")
    outcomes = workshop.rows(OUTCOMES, f"reason = '{Reason.FORGOTTEN}'")
    assert len(outcomes) == len(GONE) + 2
    for row in outcomes:
        assert (row["stage"], row["status"], row["photo_id"], row["detail"]) == ("ingest", "rejected", None, None)
    assert len(workshop.rows(POSTERIORS, "night = DATE '2026-11-24'")) == len(set(UPLOADS) - GONE)
    for table in (PHOTOS, DESCRIPTORS, NEIGHBOURS, POSTERIORS, OUTCOMES):
        ids = {row.get(name) for row in workshop.rows(table) for name in ("photo_id", "neighbour_id")}
        assert not ids & (GONE | {new})
    assert {name: files for name, files in found(workshop).items() if files} == {}


# --- tables alone ---


@pytest.fixture
def shelf(spark: SparkSession, tmp_path: Path) -> Workshop:
    """Three photos of two owners, ingested; there is no index."""
    ids = zip(CORPUS[:3], (OWNERS[0], OWNERS[0], OWNERS[1]), strict=True)
    lines = [line(i, owner, 10.0, 20.0, title=title_of(i)) for i, owner in ids]
    (tmp_path / "corpus.tsv").write_text("".join(lines))
    workshop = Workshop.opened(tmp_path, photos={"root": str(tmp_path)})
    ingest(workshop, "corpus")
    return workshop


def test_tables_of_which_nothing_stays(shelf):
    """All that was in a file goes: no new file and no new manifest takes the place of the old one."""
    texts = [*OWNERS[:2], *map(title_of, CORPUS[:3])]
    before = traces(shelf.folder / "warehouse", CORPUS[:3], texts)
    assert all(before.values())
    shelf.run("forget", f"forget.owners={json.dumps(OWNERS[:2])}")
    assert shelf.rows(PHOTOS) == []
    assert connect(shelf.folder / "warehouse").sql("SELECT count(*) FROM photos").fetchone() == (0,)
    after = traces(shelf.folder / "warehouse", CORPUS[:3], texts)
    assert {name: files for name, files in after.items() if files} == {}


def test_a_list_of_both(shelf, tmp_path):
    (tmp_path / "list.txt").write_text(f"# two\n{FIRST}\n{OWNERS[1]}\n")
    shelf.run("forget", f"forget.file={tmp_path}/list.txt")
    assert [row["photo_id"] for row in shelf.rows(PHOTOS)] == [CORPUS[1]]


def test_a_tag_that_keeps_old_rows_is_told(shelf):
    with shelf.lake() as lake:
        lake.spark.sql(f"ALTER TABLE {PHOTOS.path} CREATE TAG before")
    with pytest.raises(StageError, match="table photos: branches or tags keep older snapshots"):
        shelf.run("forget", f"forget.photos={FIRST}")
    with shelf.lake() as lake:
        lake.spark.sql(f"ALTER TABLE {PHOTOS.path} DROP TAG before")
    shelf.run("forget", f"forget.photos={FIRST}")
    assert not traces(shelf.folder / "warehouse", [FIRST], [])[str(FIRST)]


def test_what_a_killed_build_left_of_them_goes(shelf):
    left = shelf.folder / "index" / "versions" / "abc" / "shard-0000.arrow"
    left.parent.mkdir(parents=True)
    left.write_bytes(FIRST.to_bytes(8, "little"))
    shelf.run("forget", f"forget.photos={FIRST}")
    assert not left.exists()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("forget.photos=[]", r"give --photo ID, --owner ID or --file LIST"),
        ("forget.file=/gone/list", r"--file /gone/list: can't be used"),
    ],
)
def test_what_is_not_named_is_refused_before_anything_is_written(shelf, override, says):
    before = shelf.files()
    with pytest.raises(UsageError, match=says):
        shelf.run("forget", override)
    assert shelf.files() == before
