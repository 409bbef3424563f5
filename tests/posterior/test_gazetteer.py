import numpy as np
import pytest
from scipy.spatial import cKDTree

from im2gps_spark.posterior.gazetteer import Gazetteer, Name, cities_of
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


# --- sections go by the name of their city ---


@pytest.mark.parametrize(
    ("latitude", "longitude", "country", "place"),
    [
        (48.8546, 2.3577, "France", "Paris"),  # 4th arrondissement
        (48.8448, 2.3471, "France", "Paris"),  # 5th, on the very point that GeoNames has for it
        (48.8925, 2.3444, "France", "Paris"),  # Montmartre
        (51.5055, -0.0754, "United Kingdom", "London"),  # Tower Bridge
        (51.5406, -0.1433, "United Kingdom", "London"),  # Camden
        (51.4769, 0.0005, "United Kingdom", "London"),  # Greenwich
        (51.3762, -0.0982, "United Kingdom", "London"),  # Croydon, 15 km out
        (51.5750, 0.1858, "United Kingdom", "London"),  # Romford, 23 km out
        (40.7580, -73.9855, "United States", "New York City"),  # Manhattan
        (40.6712, -73.9636, "United States", "New York City"),  # Brooklyn
        (35.6595, 139.7005, "Japan", "Tokyo"),  # Shibuya
        (44.4234, 26.1687, "Romania", "Bucharest"),  # 'Sector 3'
        (52.4986, 13.4033, "Germany", "Berlin"),  # Kreuzberg
        (-33.8915, 151.2767, "Australia", "Sydney"),  # Bondi
        (-22.9711, -43.1822, "Brazil", "Rio de Janeiro"),  # Copacabana
        (22.3167, 114.1833, "Hong Kong", "Hong Kong"),  # Kowloon
    ],
)
def test_a_section_goes_by_its_city(latitude, longitude, country, place):
    assert name_at(latitude, longitude) == Name(country, place)


@pytest.mark.parametrize(
    ("latitude", "longitude", "place"),
    [
        (14.5995, 120.9842, "Manila"),  # Quezon City has twice as many people, 10 km away
        (33.7294, 73.0931, "Islamabad"),  # Rawalpindi has five times as many
        (25.2048, 55.2708, "Dubai"),
        (25.3463, 55.4209, "Sharjah"),
        (35.4437, 139.6380, "Yokohama"),
        (37.8716, -122.2727, "Berkeley"),
        (52.4009, 13.0591, "Potsdam"),
        (45.4371, 12.3326, "Venice"),
    ],
)
def test_cities_beside_larger_ones_keep_their_names(latitude, longitude, place):
    assert name_at(latitude, longitude).place == place


@pytest.mark.parametrize(
    ("latitude", "longitude", "country", "place"),
    [
        (48.5731, 7.8151, "Germany", "Kehl"),  # Strasbourg, 5 km
        (32.5149, -117.0382, "Mexico", "Tijuana"),
        (47.5900, 7.5600, "France", "Saint-Louis"),  # Basel, 4 km
        (41.9029, 12.4534, "Vatican", "Vatican City"),
    ],
)
def test_no_city_reaches_across_a_border(latitude, longitude, country, place):
    assert name_at(latitude, longitude) == Name(country, place)


@pytest.mark.parametrize(
    ("latitude", "longitude", "place"),
    [
        (38.9190, -1.1180, "Almansa"),  # 65 km from Albacete
        (67.9324, 13.0887, "Bodø"),
        (-13.1631, -72.5450, "Quillabamba"),  # Machu Picchu: Cusco, 75 km, is ten times as large
        (48.3, 2.7, "Nemours"),  # 65 km from Paris
    ],
)
def test_far_from_cities_the_nearest_town_stands(latitude, longitude, place):
    assert name_at(latitude, longitude).place == place


def test_at_the_poles_and_on_longitude_180_all_directions_are_the_same():
    for latitude, longitude in ((90.0, 0.0), (-90.0, 0.0), (0.0, 180.0), (65.0, 180.0), (-16.8, 180.0)):
        assert name_at(latitude, longitude) == name_at(latitude, -longitude)


def belongs(*towns: tuple[float, int, int, str]) -> list[int]:
    """The city of each town, given by km along the equator, people, names and country, by falling population."""
    km, people, renown, country = (np.array(column) for column in zip(*towns, strict=True))
    where = unit_vectors(np.zeros(len(km)), np.degrees(km / 6371.0))
    return [int(i) for i in cities_of(where, people, renown, country, cKDTree(where))]


def test_a_city_takes_what_is_smaller_and_less_known_within_its_reach():
    city = (0.0, 1_000_000, 60, "A")  # reaches 14.6 km
    assert belongs(city, (14.5, 90_000, 40, "A")) == [0, 0]
    assert belongs(city, (14.7, 90_000, 40, "A")) == [0, 1]
    assert belongs(city, (1.0, 90_000, 41, "A")) == [0, 1]
    assert belongs(city, (1.0, 90_000, 1, "B")) == [0, 1]
    assert belongs(city, (0.0, 90_000, 1, "A")) == [0, 0]


def test_no_city_reaches_farther_than_25_km_and_towns_reach_nowhere():
    capital = (0.0, 20_000_000, 99, "A")
    assert belongs(capital, (24.9, 9_000, 1, "A"), (25.1, 8_000, 1, "A")) == [0, 0, 2]
    assert belongs((0.0, 49_999, 99, "A"), (0.1, 9_000, 1, "A")) == [0, 1]
    assert belongs((0.0, 50_000, 99, "A"), (0.1, 9_000, 1, "A")) == [0, 0]


def test_of_two_cities_the_one_that_pulls_most_takes_a_town():
    west, east = (0.0, 2_000_000, 60, "A"), (19.0, 1_000_000, 60, "A")
    assert belongs(west, east, (11.0, 9_000, 1, "A")) == [0, 1, 0]  # 2 / 11^2 > 1 / 8^2
    assert belongs(west, east, (11.3, 9_000, 1, "A")) == [0, 1, 1]


def test_what_is_taken_takes_nothing():
    assert belongs((0.0, 2_000_000, 90, "A"), (20.0, 900_000, 30, "A"), (30.0, 9_000, 1, "A")) == [0, 0, 2]


def test_there_may_be_no_towns_and_no_people():
    assert belongs((0.0, 0, 1, "A"), (0.0, 0, 1, "A")) == [0, 1]


def test_it_is_loaded_once():
    assert Gazetteer.shared() is Gazetteer.shared()
