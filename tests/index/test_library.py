"""The index's folder: what is in use is whole, what is not whole is refused by name, and nothing is half-written."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.index.library import Library, Training, name_of
from im2gps_spark.index.manifest import FORMAT, MANIFEST, TRAINED, Manifest, shard_files
from im2gps_spark.index.plan import Plan
from im2gps_spark.index.training import Trained
from im2gps_spark.store.cache import Cache
from im2gps_spark.store.files import write_whole
from im2gps_spark.store.folder import DiskFolder, folder_at
from im2gps_spark.store.settings import S3Settings
from tests.index import Corpus, draw, trained_on, write_version

CORPUS = draw(120, seed=1)


@pytest.fixture(scope="module")
def made() -> tuple[Trained, Plan]:
    return trained_on(CORPUS, lists=4)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "index")


@pytest.fixture
def version(library: Library, made: tuple[Trained, Plan]) -> Manifest:
    """A version that is there, and in use."""
    manifest = write_version(folder_of(library, "v1"), made, CORPUS)
    library.use("v1")
    return manifest


def root_of(library: Library) -> Path:
    return Path(str(library.root))


def folder_of(library: Library, version: str) -> Path:
    return Path(str(library.version_folder(version)))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def change(file: Path) -> None:
    """One bit, in the middle."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def rewrite(folder: Path, **fields: object) -> None:
    """Changes fields of a manifest; None takes one away."""
    text = json.loads((folder / MANIFEST).read_text())
    text |= fields
    (folder / MANIFEST).write_text(json.dumps({name: value for name, value in text.items() if value is not None}))


# --- trainings ---


def put(library: Library, made: tuple[Trained, Plan], version: str = "v", sample: str = "s") -> Training:
    return library.put_training(made[0], "gist", version, sample, made[1])


def test_a_training_that_is_kept_is_in_use(library, made):
    kept = put(library, made)
    training, data = library.training()
    assert training == kept
    assert data == made[0].to_bytes()
    assert (training.descriptor, training.descriptor_version, training.training_sample) == ("gist", "v", "s")
    assert Plan(**training.plan) == made[1]
    for name in (str(library.root), f"file://{library.root}"):
        assert training == Library(folder_at(name, S3Settings(), Cache())).training()[0]


def test_the_last_training_is_in_use_and_the_others_are_kept(library, made):
    first, second = put(library, made, sample="a"), put(library, made, sample="b")
    assert library.training()[0] == second
    assert sorted(p.name for p in (root_of(library) / "trained").iterdir()) == sorted([first.name, second.name])


def test_a_training_is_named_by_what_it_was_made_from(library, made):
    other_plan = made[0], dataclasses.replace(made[1], shards=1)
    other_bytes = trained_on(draw(120, seed=2), lists=4)[0], made[1]
    trainings = [
        put(library, made),
        put(library, made, version="w"),
        put(library, made, sample="t"),
        put(library, other_plan),
        put(library, other_bytes),
    ]
    assert len({training.name for training in trainings}) == 5
    assert put(library, made) == trainings[0]


def test_without_a_training_it_says_what_to_run(library):
    with pytest.raises(UsageError, match=r"index\.root: nothing to use in .*index; run train first"):
        library.training()
    with pytest.raises(UsageError, match="run build first"):
        library.current()


def test_a_changed_training_is_refused_by_name(library, made):
    change(root_of(library) / "trained" / put(library, made).name / TRAINED)
    with pytest.raises(StageError, match=rf"{TRAINED} has changed since it was written; run train again"):
        library.training()


@pytest.mark.parametrize("file", [TRAINED, "training.json"])
def test_a_training_that_lost_a_file_is_refused_by_name(library, made, file):
    name = put(library, made).name
    (root_of(library) / "trained" / name / file).unlink()
    with pytest.raises(UsageError, match=rf"the training {name} can't be read .*{file}.*; run train"):
        library.training()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": "x"}', "7"])
def test_a_broken_description_of_a_training_is_refused(library, made, text):
    name = put(library, made).name
    (root_of(library) / "trained" / name / "training.json").write_text(text)
    with pytest.raises(UsageError, match=f"the training {name} can't be read"):
        library.training()


# --- versions ---


def test_a_version_in_use_comes_back_as_it_was_written(library, version):
    assert library.current() == version
    assert library.has("v1")
    assert version.shards == 2
    assert sum(version.rows) == len(CORPUS)


def test_lists_are_found_in_their_shards(version):
    numbers = [version.lists_of(shard).tolist() for shard in range(version.shards)]
    assert sorted(number for some in numbers for number in some) == list(range(4))
    assert [sorted(n) for n in numbers] == numbers
    assert all(version.shard_of_list[number] == shard for shard, some in enumerate(numbers) for number in some)


def test_a_version_is_switched_and_back(library, version, made):
    write_version(folder_of(library, "v2"), made, CORPUS.take(np.arange(60)))
    assert library.current().index_version == "v1"  # being there is not being in use
    library.use("v2")
    assert sum(library.current().rows) == 60
    library.use("v1")
    assert library.current() == version


FILES = [TRAINED, "moments.npz", *(name for n in range(2) for name in shard_files(n))]


@pytest.mark.parametrize("file", FILES)
def test_a_version_that_lost_a_file_is_refused_by_name(library, version, file):
    assert set(version.files) == {*FILES, version.owners}
    (folder_of(library, "v1") / file).unlink()
    with pytest.raises(StageError, match=rf"index v1: .*{file} is missing; run build again"):
        library.current()
    assert not library.has("v1")


@pytest.mark.parametrize("file", FILES)
def test_a_version_with_a_changed_file_is_not_whole(library, version, file):
    change(folder_of(library, "v1") / file)
    assert not library.has("v1")


@pytest.mark.parametrize("file", FILES)
def test_a_version_with_a_truncated_file_is_not_whole(library, version, file):
    path = folder_of(library, "v1") / file
    path.write_bytes(path.read_bytes()[:-1])
    assert not library.has("v1")


def test_a_shard_of_another_version_is_not_taken_for_its_own(library, version, made):
    write_version(folder_of(library, "v2"), made, CORPUS.take(np.arange(60)))
    name = shard_files(0)[0]
    (folder_of(library, "v2") / name).replace(folder_of(library, "v1") / name)
    assert not library.has("v1")


def test_a_version_that_is_not_there(library, version):
    assert not library.has("v2")
    library.use("v2")
    with pytest.raises(UsageError, match=r"v2 holds no index version .*; run build"):
        library.current()


def test_a_folder_without_its_manifest_is_no_version(library, version):
    (folder_of(library, "v1") / MANIFEST).unlink()
    assert not library.has("v1")
    with pytest.raises(UsageError, match="v1 holds no index version"):
        library.current()


def test_all_versions_are_told_and_what_is_none_can_be_removed(library, version, made):
    write_version(folder_of(library, "v0"), made, CORPUS)
    broken = write_version(folder_of(library, "v2"), made, CORPUS)
    (folder_of(library, "v2") / MANIFEST).unlink()
    (folder_of(library, "v0") / ".shard-0000.arrow.0123").write_bytes(b"half")
    (folder_of(library, "v0") / "calibration.json").write_text("{}")
    before = contents(folder_of(library, "v1"))
    assert [manifest.index_version for manifest in library.versions()] == ["v0", "v1"]
    assert library.remove_remains() == 2
    assert not folder_of(library, "v2").exists()
    assert set(contents(folder_of(library, "v0"))) == {*broken.files, MANIFEST, "calibration.json"}
    assert contents(folder_of(library, "v1")) == before
    assert library.remove_remains() == 0


def test_a_library_without_versions(library):
    assert library.versions() == []
    assert library.remove_remains() == 0


def test_versions_of_another_format_are_not_passed_over(library, version):
    rewrite(folder_of(library, "v1"), format=FORMAT + 1)
    with pytest.raises(UsageError, match="is not of format"):
        library.versions()


@pytest.mark.parametrize("number", [FORMAT + 1, FORMAT - 1, str(FORMAT), None])
def test_another_format_is_refused(library, version, number):
    rewrite(folder_of(library, "v1"), format=number)
    assert not library.has("v1")
    with pytest.raises(UsageError, match=rf"v1/{MANIFEST} is not of format {FORMAT}.*run build again"):
        library.current()


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"x"', "\ufeff{}"])
def test_a_broken_manifest_is_refused(library, version, text):
    (folder_of(library, "v1") / MANIFEST).write_text(text, "utf-8")
    assert not library.has("v1")
    with pytest.raises(UsageError, match=r"v1 holds no index version|is not of format"):
        library.current()


@pytest.mark.parametrize("fields", [{"rows": None}, {"files": None}, {"colour": "red"}])
def test_a_manifest_with_other_fields_is_refused(library, version, fields):
    rewrite(folder_of(library, "v1"), **fields)
    assert not library.has("v1")
    with pytest.raises(UsageError, match=rf"v1 holds no index version .*{next(iter(fields))}.*; run build"):
        library.current()


# --- failures half-way ---


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Files can't be given their names while this is on."""

    def fail(_self: Path, _target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        yield patch


def test_a_switch_that_fails_leaves_the_version_in_use(library, version, full_disk):
    before = contents(root_of(library))
    with pytest.raises(OSError, match="No space left"):
        library.use("v2")
    assert contents(root_of(library)) == before
    assert library.current() == version


def test_a_manifest_that_can_t_be_written_leaves_no_version(tmp_path, version, full_disk):
    with pytest.raises(OSError, match="No space left"):
        version.write(DiskFolder(tmp_path / "v3"))
    assert contents(tmp_path / "v3") == {}


@pytest.mark.parametrize("files_before_failure", [0, 1, 2])
def test_a_training_that_fails_half_way_leaves_the_one_in_use(library, made, monkeypatch, files_before_failure):
    kept = put(library, made)
    written: list[Path] = []

    def failing(path: Path, data: bytes) -> str:
        if len(written) == files_before_failure:
            raise OSError(28, "No space left on device")
        written.append(path)
        return write_whole(path, data)

    with monkeypatch.context() as patch:
        patch.setattr("im2gps_spark.store.folder.write_whole", failing)
        with pytest.raises(OSError, match="No space left"):
            put(library, made, sample="another")
    assert len(written) == files_before_failure
    assert library.training() == (kept, made[0].to_bytes())
    again = put(library, made, sample="another")
    assert library.training()[0] == again


def test_a_build_that_fails_half_way_leaves_no_version(library, version, made, monkeypatch):
    """The manifest is the last file of a version: without the others it is not written."""
    folder = folder_of(library, "v2")
    monkeypatch.setattr(Manifest, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_version(folder, made, CORPUS)
    assert len(contents(folder)) == 7
    assert not library.has("v2")
    assert library.current() == version


# --- names ---


def test_names_are_hashes_of_what_went_in():
    name = name_of("a", [1, 2.5], {"x": 1, "y": None})
    assert name == name_of("a", (1, 2.5), {"y": None, "x": 1})
    assert len(name) == 12
    assert int(name, 16) >= 0
    assert len({name, name_of("a", [1, 2.5]), name_of("b", [1, 2.5], {"x": 1, "y": None}), name_of()}) == 4


def test_names_of_shards_sort_like_numbers():
    names = [shard_files(n) for n in (0, 2, 10, 999, 4095)]
    assert names == sorted(names)
    assert names[2] == ("shard-0010.faiss", "shard-0010.arrow")


def test_a_corpus_of_one_photo_makes_a_version(library):
    corpus: Corpus = draw(1)
    write_version(folder_of(library, "one"), trained_on(corpus), corpus)
    library.use("one")
    assert library.current().rows == [1]
    assert library.has("one")
