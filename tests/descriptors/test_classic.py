"""The classic descriptors together: distances add up, each part in its scale."""

from __future__ import annotations

import numpy as np
import pytest

from im2gps_spark.descriptors import classic
from im2gps_spark.descriptors.classic import PARTS, SPREADS, Classic
from tests.descriptors.pictures import natural


def test_squared_distance_is_the_sum_of_the_parts_scaled():
    pictures = [natural(seed, 100 + 40 * seed, 160) for seed in range(4)]
    vectors = Classic().describe([Classic().prepare(picture) for picture in pictures]).astype(float)
    expected = np.zeros((4, 4))
    for part in PARTS:
        own = part.describe([part.prepare(picture) for picture in pictures]).astype(float)
        expected += np.sum((own[:, None] - own) ** 2, axis=2) / SPREADS[part.name]
    np.testing.assert_allclose(np.sum((vectors[:, None] - vectors) ** 2, axis=2), expected, rtol=1e-4)


def test_its_parts():
    assert [part.name for part in PARTS] == ["gist", "color", "tiny", "lines"]
    assert set(SPREADS) == {part.name for part in PARTS}
    assert Classic.dimension == 675 + 784 + 768 + 34


@pytest.mark.parametrize("part", ["gist", "color", "tiny", "lines"])
def test_the_version_follows_scales_and_parts(monkeypatch, part):
    version = Classic().version
    with monkeypatch.context() as patch:
        patch.setattr(classic, "SPREADS", {**SPREADS, part: 2 * SPREADS[part]})
        assert Classic().version != version
    assert Classic().version == version
    monkeypatch.setattr(f"im2gps_spark.descriptors.{part}.REVISION", 99)
    assert Classic().version != version
