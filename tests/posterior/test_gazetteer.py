import numpy as np
import pytest

from im2gps_spark.posterior.gazetteer import Gazetteer, Name
from im2gps_spark.sphere import unit_vectors


def name_at(latitude: float, longitude: float) -> Name:
    return Gazetteer.shared().names(unit_vectors(latitude, longitude)[None])[0]


@pytest.mark.parametrize(
    ("latitude", "longitude", "country", "place"),
    [
        (48.8566, 2.3522, "France", "Paris"),
        (-18.1416, 178.4419, "Fiji", "Suva"),
        (78.2232, 15.6267, "Svalbard and Jan Mayen", "Longyearbyen"),
        (-0.2202, -78.5123, "Ecuador", "Quito"),
        (35.6895, 139.6917, "Japan", "Tokyo"),
        (-54.8019, -68.3030, "Argentina", "Ushuaia"),
        (64.1466, -21.9426, "Iceland", "Reykjavík"),
    ],
)
def test_known_places(latitude, longitude, country, place):
    name = name_at(latitude, longitude)
    assert name.country == country
    assert name.place is not None
    assert place in name.place


@pytest.mark.parametrize("longitude", [179.99, -179.99, 180.0, -180.0])
def test_the_nearest_place_is_found_across_longitude_180(longitude):
    """Taveuni: Savusavu and Labasa lie 80 km to the west."""
    assert name_at(-16.8, longitude).country == "Fiji"


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [(-40.0, -130.0), (30.0, -40.0), (90.0, 0.0), (90.0, 180.0), (-90.0, 0.0), (-80.0, 90.0), (0.0, -130.0)],
)
def test_at_sea_and_on_ice_there_is_no_name(latitude, longitude):
    assert name_at(latitude, longitude) == Name(None, None)


def test_offshore_there_is_a_place_but_no_country():
    offshore = name_at(-18.0, -177.5)  # 300 km east of Fiji's towns
    assert offshore.country is None
    assert offshore.place == "Levuka"


def test_many_points_at_once_each_have_their_own_name():
    points = unit_vectors([48.8566, -40.0, -0.2202], [2.3522, -130.0, -78.5123])
    assert [n.country for n in Gazetteer.shared().names(points)] == ["France", None, "Ecuador"]
    assert Gazetteer.shared().names(np.zeros((0, 3))) == []


def test_it_is_loaded_once():
    assert Gazetteer.shared() is Gazetteer.shared()
