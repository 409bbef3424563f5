"""The scales of ``classic``: how much squared distances of its parts vary, over photos of the sample collection.

    python -m benchmarks.classic_spreads

makes the sample's photos anew (seed 2008: always the same), describes all that can be decoded by each part, and prints
the standard deviation of the squared distance over all pairs, rounded, as ``descriptors/classic.py`` keeps it, and the
mean. Where a kept figure changes so does the version of ``classic``: not to be done without need.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.descriptors.classic import PARTS, SPREADS
from im2gps_spark.descriptors.protocol import Pixels
from im2gps_spark.photos.decode import decode, limit_threads
from im2gps_spark.photos.reasons import Rejected
from im2gps_spark.sample import make_sample

PHOTOS, SEED = 600, 2008
DIGITS = 3


def squared_distances(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n (n - 1) / 2,) of all pairs of (n, d) vectors."""
    exact = vectors.astype(np.float64)
    square = np.sum(exact**2, axis=1)
    whole = square[:, None] + square - 2 * exact @ exact.T
    return np.asarray(np.maximum(whole[np.triu_indices(len(exact), 1)], 0.0))


def sample_pictures() -> list[Pixels]:
    """The decoded photos of the sample, in the order of their names; the files that are broken on purpose left out."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        make_sample(Path(folder) / "sample", corpus=PHOTOS, uploads=1, seed=SEED)
        for file in sorted((Path(folder) / "sample" / "photos" / "images").iterdir()):
            try:
                found.append(decode(file.read_bytes()))
            except Rejected:
                continue
    return found


def main() -> None:
    """Prints each part's spread beside the kept one."""
    limit_threads()
    pictures = sample_pictures()
    print(f"photos {len(pictures)}")
    for part in PARTS:
        distances = squared_distances(part.describe([part.prepare(picture) for picture in pictures]))
        spread = float(f"{distances.std():.{DIGITS}g}")
        print(f"{part.name}: spread {spread}, kept {SPREADS[part.name]}; mean {distances.mean():.{DIGITS}g}")


if __name__ == "__main__":
    main()
