"""All that IM2GPS had besides textons and geometric context, in one vector: squared distances of the parts add up.

IM2GPS (Hays & Efros, CVPR 2008) scales each feature's distance to about the same standard deviation and adds them
(from memory). Here a part's squared Euclidean distance is its distance, so a part divided by the root of the standard
deviation of its squared distances, set beside the others, makes the squared distance of whole vectors that sum.

Left out: geometric context (Hoiem's ground, sky and vertical maps), for its trained classifiers cannot be had; textons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.descriptors.color import Color
from im2gps_spark.descriptors.fingerprint import fingerprint
from im2gps_spark.descriptors.gist import SIZE, Gist
from im2gps_spark.descriptors.lines import BINS, LONGEST_SIDE, Lines
from im2gps_spark.descriptors.protocol import Descriptor, Pixels, Vectors
from im2gps_spark.descriptors.resize import stretch
from im2gps_spark.descriptors.tiny import Tiny

REVISION = 1
"""Raised whenever a change of the code changes the numbers."""

OF_PICTURE: tuple[Descriptor, ...] = (Gist(), Color(), Tiny())
"""Parts that all begin with the same small picture, which is therefore made once."""
LINES = Lines()
PARTS: tuple[Descriptor, ...] = (*OF_PICTURE, LINES)

SPREADS = {"gist": 0.305, "color": 0.482, "tiny": 0.302, "lines": 0.59}
"""Standard deviation of each part's squared distance, over all pairs of 642 photos of the sample collection
(``im2gps_spark.sample``, seed 2008), measured once: ``python -m benchmarks.classic_spreads`` does it again. Over 2,000
photos of Flickr they are 0.342, 0.395, 0.288 and 0.414."""

_PREPARED = np.dtype([("picture", np.uint8, (SIZE, SIZE, 3)), ("lines", np.float64, (2, BINS))])


@dataclass(frozen=True)
class Classic:
    """The descriptor ``classic``: ``gist``, ``color``, ``tiny`` and ``lines``, each scaled, one after the other."""

    name: ClassVar[str] = "classic"
    dimension: ClassVar[int] = sum(part.dimension for part in PARTS)
    preprocessing: ClassVar[str] = (
        f"RGB stretched to {SIZE} x {SIZE}, area interpolation; for lines, longest side {LONGEST_SIDE} at most"
    )

    @property
    def version(self) -> str:
        """Hash of the parts' versions, of their scales and of the code's revision."""
        return fingerprint(
            descriptor=self.name,
            revision=REVISION,
            parts=[[part.name, part.version, SPREADS[part.name]] for part in PARTS],
        )

    def prepare(self, pixels: Pixels) -> NDArray:
        """() of a record: ``picture`` (128, 128, 3) uint8, and what ``lines`` prepares."""
        return np.array((stretch(pixels, SIZE), LINES.prepare(pixels)), _PREPARED)

    def describe(self, prepared: Sequence[NDArray]) -> Vectors:
        """(n, 2261) float32 of n prepared records."""
        pictures = [record["picture"] for record in prepared]
        parts = [part.describe(pictures) for part in OF_PICTURE]
        parts.append(LINES.describe([record["lines"] for record in prepared]))
        scaled = [part / np.float32(SPREADS[of.name] ** 0.5) for of, part in zip(PARTS, parts, strict=True)]
        return np.concatenate(scaled, axis=1)
