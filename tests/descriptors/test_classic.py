"""The classic descriptors together: distances add up, each part in its scale."""

from __future__ import annotations

import numpy as np
import pytest

from im2gps_spark.descriptors import classic
from im2gps_spark.descriptors.batch import Task, describe
from im2gps_spark.descriptors.classic import PARTS, SPREADS, Classic
from im2gps_spark.descriptors.registry import load
from im2gps_spark.photos.reasons import Status
from tests.descriptors.pictures import natural


def test_squared_distance_is_the_sum_of_the_parts_scaled():
    pictures = [natural(seed, 100 + 40 * seed, 160) for seed in range(4)]
    vectors = Classic().describe([Classic().prepare(picture) for picture in pictures]).astype(float)
    expected = np.zeros((4, 4))
    for part in PARTS:
        own = part.describe([part.prepare(picture) for picture in pictures]).astype(float)
        expected += np.sum((own[:, None] - own) ** 2, axis=2) / SPREADS[part.name]
    np.testing.assert_allclose(np.sum((vectors[:, None] - vectors) ** 2, axis=2), expected, rtol=1e-4)


def test_in_one_batch_with_its_parts():
    """All from one decoded picture: the parts' vectors, scaled, are those of the whole."""
    descriptors = {name: load(name) for name in ("classic", *SPREADS)}
    files = {f"{seed}.jpg": natural(seed, 90, 120) for seed in range(3)}
    tasks = [Task(i, uri, tuple(descriptors)) for i, uri in enumerate(files)]
    results = list(describe(tasks, descriptors, str.encode, lambda uri: files[uri.decode()], batch=2))
    assert [result.status for result in results] == [Status.OK] * 3
    for result in results:
        parts = [result.vectors[name] / np.sqrt(spread) for name, spread in SPREADS.items()]
        np.testing.assert_allclose(result.vectors["classic"], np.concatenate(parts), rtol=1e-5, atol=1e-7)


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
