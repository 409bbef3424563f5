"""Configuration: what is wrong is told, all of it, by name; what is right comes out typed."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from im2gps_spark.config import Config, load
from im2gps_spark.errors import UsageError

CONF = Path(__file__).parents[1] / "conf"


def faults(*overrides: str, file: Path | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        load(file, overrides)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def write(folder: Path, text: str) -> Path:
    (folder / "some.toml").write_text(text, "utf-8")
    return folder / "some.toml"


def keys(values: dict) -> set[str]:
    return {f"{section}.{key}" for section, fields in values.items() for key in fields}


def at(values: dict, key: str) -> object:
    section, name = key.split(".")
    return values[section][name]


# --- what is right ---


def test_the_defaults_are_valid_and_written_out_they_are_the_same():
    written = Config.model_validate(Config().model_dump())
    assert written == Config() == load(None)
    assert written.hash == Config().hash


def test_a_file_and_overrides_after_it(tmp_path):
    file = write(tmp_path, '[photos]\ncollection = "mine"\nroot = "a"\n[geolocate]\nk = 7\n')
    config = load(file, ["photos.root=b", "geolocate.nprobe=3"])
    assert (config.photos.collection, config.photos.root) == ("mine", "b")
    assert (config.geolocate.k, config.geolocate.nprobe) == (7, 3)
    assert config.index == Config().index


def test_the_last_override_holds():
    assert load(None, ["geolocate.k=1", "geolocate.k=2"]).geolocate.k == 2


def test_a_configuration_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        load(None).geolocate.__setattr__("k", 3)


@pytest.mark.parametrize("file", sorted(CONF.glob("*.toml")), ids=lambda file: str(file.name))
def test_the_configurations_of_the_repository_load(file):
    load(file)


@pytest.mark.parametrize("file", sorted(CONF.glob("*.toml")), ids=lambda file: file.stem)
def test_every_configuration_that_is_shipped_loads(file):
    config = load(file)
    assert config.photos.root
    assert config.photos.metadata


@pytest.mark.skipif(not (CONF / "local.toml").exists(), reason="conf/local.toml is not written yet")
def test_local_toml_shows_every_key_with_its_default():
    shown = tomllib.loads((CONF / "local.toml").read_text("utf-8"))
    defaults = Config().model_dump()
    # A date that is not given has no spelling in TOML, and Spark's own settings no end.
    assert keys(defaults) - keys(shown) == {"geolocate.night", "spark.conf"}
    folders = {
        "photos.root",
        "photos.key",
        "photos.metadata",
        "tables.warehouse",
        "index.root",
        "tune.page",
        "evaluate.page",
        "atlas.folder",
        "nightly.folder",
    }
    config = load(CONF / "local.toml").model_dump()
    changed = {key for key in keys(defaults) if at(config, key) != at(defaults, key)}
    assert changed == folders


# --- the types of overrides ---


@pytest.mark.parametrize("text", ["2012", "1e3", "true", "2012-03-04", "007", "-", "a.b"])
def test_text_stays_text(text):
    assert load(None, [f"photos.collection={text}"]).photos.collection == text


@pytest.mark.parametrize(
    "text",
    ["/a/#b", "a=b", "a b", "", "s3://bucket/prefix", "é", "3", "[odd]", "a,b", "it's", "\\d", "a\\u0041"],
)
def test_a_folder_may_have_any_name(text):
    assert load(None, [f"photos.root={text}"]).photos.root == text


def test_quotes_around_text_are_those_of_toml():
    assert load(None, ['photos.root="a\\u0041"']).photos.root == "aA"
    assert load(None, ["photos.root='[odd] \\'"]).photos.root == "[odd] \\"
    assert load(None, ["photos.root='unfinished"]).photos.root == "'unfinished"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(st.characters(codec="utf-8"), max_size=20).filter(lambda text: text[:1] not in ("'", '"', "[")))
def test_text_is_taken_as_it_stands(text):
    assert load(None, [f"photos.root={text}"]).photos.root == text


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("photos.metadata=a.tsv", ["a.tsv"]),
        ("photos.metadata=2012", ["2012"]),
        ("photos.metadata=['a','b#c']", ["a", "b#c"]),
        ("photos.metadata=[]", []),
        ("describe.descriptors=gist", ["gist"]),
        ('describe.descriptors=["classic", "color"]', ["classic", "color"]),
        ("index.descriptor=classic", "classic"),
        ('describe.descriptors=["lite0", "gist", "lite0"]', ["gist", "lite0"]),
        ("geolocate.exclude_same_owner=true", True),
        ("geolocate.exclude_same_owner=false", False),
        ("geolocate.k=1_000", 1000),
        ("geolocate.prior_share=0", 0.0),
        ("geolocate.prior_share=2.5e-1", 0.25),
        ("geolocate.night=2026-11-23", dt.date(2026, 11, 23)),
        ("geolocate.night='2026-11-23'", dt.date(2026, 11, 23)),
        ("index.lists=5 # five", 5),
        ("forget.photos=17", [17]),
        ("forget.photos=[17, 18]", [17, 18]),
        ("forget.owners=1@N0", ["1@N0"]),
        ("spark.conf.a=8", {"a": "8"}),
        ("spark.conf.spark.sql.shuffle.partitions=8", {"spark.sql.shuffle.partitions": "8"}),
        ('spark.conf={"spark.a" = "b"}', {"spark.a": "b"}),
    ],
)
def test_other_values_are_read_as_toml(override, expected):
    section, key = override.split("=")[0].split(".")[:2]
    value = getattr(getattr(load(None, [override]), section), key)
    assert value == expected
    assert type(value) is type(expected)


def test_settings_of_spark_from_a_file_and_overrides(tmp_path):
    file = write(tmp_path, '[spark.conf]\n"spark.a" = "1"\n"spark.b.c" = "2"\n')
    assert load(file, ["spark.conf.spark.b.c=3"]).spark.conf == {"spark.a": "1", "spark.b.c": "3"}


# --- what is wrong ---


def test_every_fault_is_named_at_once(tmp_path):
    file = write(
        tmp_path,
        '[photos]\ncolection = "a"\nkey = "{title}"\n[geolocate]\nk = 0\nengine = "psychic"\n[gealocate]\nk = 1\n',
    )
    text = faults("index.lists=few", "nonsense", "describe.descriptors=['clip']", file=file)
    for name in [
        "photos.colection: no such key",
        "photos.key: {title} is none of the fields photo_id, hash, owner_id, extension",
        "geolocate.k: ",
        "geolocate.engine: ",
        "gealocate: no such key",
        "index.lists: ",
        "--set 'nonsense': must be section.key=value",
        "describe.descriptors: must name some of gist, lite0",
    ]:
        assert name in text


def test_an_unknown_key_is_told_the_keys_that_there_are():
    text = faults("photos.colection=a")
    assert "photos.colection: no such key; [photos] has collection, root, key, metadata" in text
    assert "geolocate.K: no such key; [geolocate] has " in faults("geolocate.K=3")
    assert "sharpness" in faults("geolocate.K=3")


def test_an_unknown_section_is_told_the_sections_that_there_are():
    assert f"foto: no such key; the sections are {', '.join(Config.model_fields)}" in faults("foto.root=a")


@pytest.mark.parametrize(
    "text", ["", "=", "k", "k=3", "photos", "photos=3", ".k=3", "photos.=3", "photos..k=3", "=photos.k"]
)
def test_what_is_no_override(text):
    assert f"--set {text!r}: must be section.key=value" in faults(text)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("photos.collection=a b", "(got 'a b')"),
        ("photos.collection=", "(got '')"),
        ("photos.collection=a/b", "(got 'a/b')"),
        ("photos.collection.x=1", "valid string"),
        ("photos.key=../{photo_id}", "below photos.root"),
        ("photos.metadata=[1]", "valid string (got 1)"),
        ("ingest.min_accuracy=17", "less than or equal to 16 (got 17)"),
        ("ingest.min_accuracy=-1", "greater than or equal to 0 (got -1)"),
        ("ingest.max_photos_per_owner=-1", "greater than or equal to 0 (got -1)"),
        ("describe.max_megapixels=0", "greater than 0"),
        ("describe.max_megapixels=nan", "(got nan)"),
        ("describe.max_failure_rate=1.5", "less than or equal to 1"),
        ("describe.descriptors=[]", "not nothing"),
        ("describe.batch=many", "valid integer (got 'many')"),
        ("index.descriptor=clip", "must be one of gist, lite0"),
        ("index.shards=5000", "less than or equal to 4096"),
        ("index.lists=1.0", "valid integer (got 1.0)"),
        ("index.lists=true", "valid integer (got True)"),
        ("geolocate.k=0", "greater than or equal to 1 (got 0)"),
        ("geolocate.k=", "valid integer (got '')"),
        ("geolocate.exclude_same_owner=True", "valid boolean (got 'True')"),
        ("geolocate.exclude_same_owner=1", "valid boolean (got 1)"),
        ("geolocate.night=2026-02-30", "(got '2026-02-30')"),
        ("geolocate.night=tonight", "(got 'tonight')"),
        ("geolocate.night=2026-02-03T01:02:03", "valid date"),
        ("geolocate.engine=planet", "(got 'planet')"),
        ("forget.photos=0", "greater than or equal to 1 (got 0)"),
        ("forget.photos=true", "valid integer (got True)"),
        ("spark.driver_memory=3 GB", "(got '3 GB')"),
        ("spark.conf=a", "valid dictionary (got 'a')"),
    ],
)
def test_an_impossible_value_is_told_by_its_key(override, says):
    text = faults(override)
    key = ".".join(override.split("=")[0].split(".")[:2])
    assert f"{key}" in text
    assert says in text


def test_values_that_do_not_fit_each_other():
    assert "geolocate: width_shares" in faults("geolocate.widths_km=[25]")
    shares = faults("geolocate.prior_share=0.98", "geolocate.uniform_share=0.05")
    assert "geolocate: prior_share and uniform_share must not exceed 1 together" in shares


def test_a_section_that_is_none(tmp_path):
    text = faults("photos.root=a", file=write(tmp_path, "photos = 3\n"))
    assert "--set 'photos.root=a': photos is not a section" in text
    assert "photos: Input should be a valid dictionary" in text


def test_a_file_that_is_not_there(tmp_path):
    text = faults(file=tmp_path / "gone.toml")
    assert "gone.toml: can't be read" in text
    assert "give a TOML file" in text


def test_a_folder_is_no_file(tmp_path):
    assert f"--config {tmp_path}: can't be read" in faults(file=tmp_path)


@pytest.mark.parametrize("text", ["photos:\n  root: a\n", '{"photos": {}}', "[photos", "[photos]\nroot = a\n"])
def test_a_file_that_is_no_toml_is_told_where(tmp_path, text):
    told = faults(file=write(tmp_path, text))
    assert "some.toml: not TOML: " in told
    assert re.search(r"at line \d|at end of document", told)


def test_a_key_given_twice(tmp_path):
    assert "not TOML" in faults(file=write(tmp_path, "[photos]\nroot = 'a'\nroot = 'b'\n"))


def test_a_file_in_another_encoding(tmp_path):
    file = tmp_path / "some.toml"
    file.write_bytes("[photos]\nroot = 'é'\n".encode("latin-1"))
    assert "some.toml: can't be read" in faults(file=file)


# --- the hash ---


def test_the_hash_names_what_was_asked_for(tmp_path):
    asked = ["geolocate.k=7", "photos.metadata=a.tsv"]
    file = write(tmp_path, '[geolocate]\nk = 7\n[photos]\nmetadata = ["a.tsv"]\n')
    assert load(None, asked).hash == load(None, asked[::-1]).hash == load(file).hash
    assert len(load(file).hash) == 12
    others = [[], asked[:1], asked[1:], ["geolocate.k=8", *asked[1:]], [*asked, "geolocate.night=2026-01-01"]]
    assert len({load(None, other).hash for other in [asked, *others]}) == 6


def test_the_hash_does_not_depend_on_where_it_runs():
    there = load(None, ["spark.master=local[7]", "spark.driver_memory=9g", "spark.conf.a=b"])
    assert there != load(None)
    assert there.hash == load(None).hash


def test_the_hash_is_the_same_in_every_process():
    code = "from im2gps_spark.config import load; print(load(None, ['geolocate.k=7']).hash)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == load(None, ["geolocate.k=7"]).hash
