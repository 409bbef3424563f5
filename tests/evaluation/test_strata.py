import numpy as np

from im2gps_spark.evaluation.strata import LEAST_PHOTOS, MOST_TAGS, THIRDS, strata


def parts(n, new=None, entropy=None, countries=None, tags=None):
    return strata(
        np.zeros(n, bool) if new is None else np.array(new),
        np.zeros(n) if entropy is None else np.array(entropy),
        [None] * n if countries is None else countries,
        [[]] * n if tags is None else tags,
    )


def test_a_part_that_is_empty_or_all_is_none():
    assert list(parts(5)) == ["all"]
    assert list(parts(5, new=[True] * 5)) == ["all"]
    assert list(parts(5, new=[True] + [False] * 4)) == ["all", "new owners", "known owners"]


def test_thirds_are_equal_and_by_entropy():
    entropy = np.random.default_rng(0).permutation(90).astype(float)
    found = parts(90, entropy=entropy)
    assert [name for name in found if name in THIRDS] == list(THIRDS)
    assert [found[name].sum() for name in THIRDS] == [30, 30, 30]
    assert entropy[found[THIRDS[0]]].max() < entropy[found[THIRDS[1]]].min()
    assert not set(THIRDS) & set(parts(3 * LEAST_PHOTOS - 1, entropy=np.arange(3.0 * LEAST_PHOTOS - 1)))


def test_countries_of_too_few_photos_are_left_out():
    countries = ["France"] * LEAST_PHOTOS + ["Chad"] * (LEAST_PHOTOS - 1) + [None] * 30
    found = parts(len(countries), countries=countries)
    assert "country France" in found
    assert "country Chad" not in found
    assert found["country France"].sum() == LEAST_PHOTOS


def test_the_most_frequent_tags_stand_a_photo_in_several():
    tags = [[f"t{i}" for i in range(MOST_TAGS + 5)] for _ in range(LEAST_PHOTOS)] + [["t0", "t0"]] * 3 + [[]] * 7
    found = parts(len(tags), tags=tags)
    mine = [name for name in found if name.startswith("tag ")]
    assert len(mine) == MOST_TAGS
    assert mine[0] == "tag t0"
    assert found["tag t0"].sum() == LEAST_PHOTOS + 3
    assert mine[1:] == sorted(mine[1:])
