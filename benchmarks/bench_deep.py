"""lite0-deep beside lite0 on the shared Flickr photos, ten folds of owners: what size, mirror and middle layers bring.

Nats by which a photo's place is likelier than by the prior, in its cell of order 7; each owner counts once; ``_low``
and ``_high`` are the ends of 95 % intervals, by bootstrap over owners.

- ``NAME_gain``: of a descriptor, with shares fitted on the other folds (see ``retrieval.py``); ``NAME_over_lite0``: of
  the same photos over lite0.
- ``large``: the embedding of the larger picture; ``views``: with that of its mirror; ``moments``: the stages alone;
  ``deep``: views and moments, which is lite0-deep.
- ``NAME_DIMENSION_WHITENING``: with so many components, divided by their variance to a power; 128 and 1/8 where
  nothing is said.
- ``im2gps_NAME``: the whole road by its default shares, as bench_recipe judges it.
- ``spread_N``: root mean square distance of two photos in a part: what ``lite0_deep.SPREADS`` should be.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import sys
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.bench_recipe import PRIOR, Figures, judge
from benchmarks.flickr import FOLDS, METADATA, Photos, load_photos
from benchmarks.harness import PHOTOS, best_of, keep
from benchmarks.im2gps_road import shapes
from benchmarks.retrieval import Components, Fold, components, folds_of, gains
from im2gps_spark.descriptors.lite0 import Lite0
from im2gps_spark.descriptors.lite0_deep import Lite0Deep, Looks, combine, embedding, look, moments_by_part
from im2gps_spark.descriptors.protocol import Descriptor, Pixels
from im2gps_spark.photos.decode import decode, limit_threads
from im2gps_spark.posterior.calibration import Graded
from im2gps_spark.posterior.prior import Shape
from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.sphere import Floats

DIMENSION, WHITENING = 128, 0.125
OTHERS = ((128, 0.0), (128, 0.0625), (128, 0.25), (64, 0.125), (192, 0.125), (256, 0.125))
_MOST = 256
_TIMED = 32


def main() -> None:
    """Eight minutes on one core; nothing where the photos are not at hand."""
    if not METADATA.exists():
        print(f"deep: {METADATA} is not there, nothing to measure", file=sys.stderr)
        return
    limit_threads()
    photos = load_photos()
    looks = looks_at(photos)
    made_of = shapes(photos)
    figures = Figures(photos)
    figures["photos"] = (len(photos), "photos")
    compare(figures, photos, folds_of(photos, made_of), looks)
    whole_road(figures, photos, made_of, combine(looks))
    for number, spread in enumerate(spreads(looks)):
        figures[f"spread_{number}"] = (spread, "")
    time_both(figures, photos)
    keep("deep", figures)


def looks_at(photos: Photos) -> Looks:
    """The network's numbers of all photos."""
    each = [look([Lite0Deep().prepare(_picture(photos, i))]) for i in range(len(photos))]
    return Looks(np.concatenate([one.embeddings for one in each]), np.concatenate([one.moments for one in each]))


def compare(figures: Figures, photos: Photos, folds: list[Fold], looks: Looks) -> None:
    """Each part of lite0-deep alone and together; and other numbers of components, and their whitening."""
    deep = combine(looks).astype(np.float64)
    cut = looks.embeddings.shape[2]
    vectors = {
        "lite0": photos.vectors.astype(np.float64),
        "large": embedding(looks.embeddings[:, :1]),
        "views": deep[:, :cut],
        "moments": deep[:, cut:],
        "deep": deep,
    }
    base = np.zeros(0)
    for name, rows in vectors.items():
        products = rows @ rows.T
        found = [components(products, fold, _MOST) for fold in folds]
        gain = _gains(photos, folds, found, DIMENSION, WHITENING)
        figures.mean(f"{name}_gain", gain)
        if name == "lite0":
            base = gain
        else:
            figures.mean(f"{name}_over_lite0", gain - base)
        for dimension, whitening in OTHERS if name in ("lite0", "deep") else ():
            gain = _gains(photos, folds, found, dimension, whitening)
            figures.mean(f"{name}_{dimension}_{whitening:g}_gain", gain)


def _gains(photos: Photos, folds: list[Fold], found: list[Components], dimension: int, whitening: float) -> Floats:
    return gains(folds, photos.owner, [each.cosines(dimension, whitening) for each in found])


def whole_road(figures: Figures, photos: Photos, made_of: list[Shape], deep: np.ndarray) -> None:
    """The maps that would be written, by the default shares."""
    ways = {"im2gps": [Graded((), (PosteriorSettings(),))] * FOLDS}
    found = {}
    for name, seen in (("lite0", photos), ("deep", replace(photos, vectors=deep))):
        judged = judge(seen, made_of, ways)
        found[name] = judged["im2gps"].law_cell - judged[PRIOR].law_cell
        figures.mean(f"im2gps_{name}_gain", found[name])
        figures.coverage(f"im2gps_{name}", judged["im2gps"])
    figures.mean("im2gps_deep_over_lite0", found["deep"] - found["lite0"])


def spreads(looks: Looks) -> list[float]:
    """Of each part, the root mean square distance of two photos."""
    parts = [embedding(looks.embeddings), *moments_by_part(looks.moments.mean(axis=1))]
    return [float(np.sqrt(2.0 * part.var(axis=0, ddof=1).sum())) for part in parts]


def time_both(figures: Figures, photos: Photos) -> None:
    """Of a decoded photo on one core: what each descriptor takes, and what decoding took."""
    pictures = [_picture(photos, i) for i in range(_TIMED)]
    for descriptor in (Lite0(), Lite0Deep()):
        seconds = best_of(partial(_describe, descriptor, pictures))
        figures[f"{descriptor.name}_ms"] = (1e3 * seconds / _TIMED, "ms")
    decoding = best_of(lambda: [_picture(photos, i) for i in range(_TIMED)])
    figures["decode_ms"] = (1e3 * decoding / _TIMED, "ms")
    figures["times_lite0"] = (figures["lite0-deep_ms"][0] / figures["lite0_ms"][0], "x")


def _describe(descriptor: Descriptor, pictures: list[Pixels]) -> None:
    descriptor.describe([descriptor.prepare(picture) for picture in pictures])


def _picture(photos: Photos, i: int) -> Pixels:
    return decode((PHOTOS / "images" / f"{photos.photo_id[i]}.jpg").read_bytes())


if __name__ == "__main__":
    main()
