import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from im2gps_spark.grid import MAX_ORDER, MultiOrderMap, area_km2, cell_centres, cells_at, neighbours, to_nuniq
from im2gps_spark.posterior.law import Law
from im2gps_spark.posterior.parts import LEVEL, connected_parts
from im2gps_spark.posterior.ranked import BRIDGE_ORDER
from im2gps_spark.posterior.refine import refine
from im2gps_spark.sphere import EARTH_RADIUS_KM, SPHERE_AREA_KM2, concentration, distance_km, unit_vectors
from tests.posterior.laws import PLACES, SEEDS, at, corpus, mixture, random_map


def at_order(order, mass) -> Law:
    return Law.resolved(MultiOrderMap(to_nuniq(order, np.arange(12 * 4**order)), mass / mass.sum()))


def alone(places, weights=None, width_km=100.0) -> Law:
    """Kernels and next to nothing else."""
    density = mixture(places, weights, widths_km=(width_km,), prior_share=0.0, uniform_share=1e-4)
    return Law.of(refine(density, 0.02), density.background)


def cap_radius_km(mass, width_km):
    """Within which of its centre a vMF law has a mass: 1 - cos r = -ln(1 - mass) / kappa, nearly."""
    return EARTH_RADIUS_KM * np.arccos(1.0 + np.log(1.0 - mass) / concentration(width_km))


def by_brute_force(law: Law, level: float) -> tuple[list[float], list[float]]:
    """Masses and areas of the parts: one by one, on cells of the order in which what touches is one."""
    written = law.cells
    inside = np.log(written.density) >= law.threshold(level)
    n = 12 * 4**BRIDGE_ORDER
    mass, area = np.zeros(n), np.zeros(n)
    for i in np.flatnonzero(inside):
        start = written.starts[i]
        end = start + (1 << (2 * (MAX_ORDER - int(written.order[i]))))
        shift = 2 * (MAX_ORDER - BRIDGE_ORDER)
        cells = np.arange(start >> shift, max((end >> shift), (start >> shift) + 1))
        mass[cells] += written.mass[i] / len(cells)
        area[cells] += np.pi / 3 / 4.0 ** written.order[i] / len(cells)
    on = area > 0
    beside = neighbours(BRIDGE_ORDER, np.arange(n))
    source, slot = np.nonzero(on[:, None] & (beside >= 0) & on[beside])
    graph = coo_array((np.ones(len(source)), (source, beside[source, slot])), shape=(n, n))
    label = connected_components(graph, directed=False)[1]
    sums = np.bincount(label[on], weights=mass[on]), np.bincount(label[on], weights=area[on])
    rank = np.argsort(-sums[0][sums[1] > 0], kind="stable")
    return sums[0][sums[1] > 0][rank].tolist(), sums[1][sums[1] > 0][rank].tolist()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS, st.integers(0, 200), st.sampled_from([0.1, 0.3, 0.5, 0.8]))
def test_parts_are_the_connected_ones(seed, splits, level):
    law = Law.resolved(random_map(np.random.default_rng(seed), splits, deepest=8))
    parts = connected_parts(law, level, most=1000)
    mass, area = by_brute_force(law, level)
    assert [p.mass for p in parts] == pytest.approx(mass)
    assert [p.area_km2 for p in parts] == pytest.approx([float(area_km2(a)) for a in area])
    assert sum(p.mass for p in parts) >= level * (1 - 1e-9)
    assert sum(p.area_km2 for p in parts) >= float(law.area_km2(np.array([level]))[0]) * (1 - 0.01)


def test_so_they_are_for_a_photo_over_its_corpus_prior():
    photos, over = corpus(0)
    law = Law.of(refine(mixture(photos[:10], over=over), 0.05), over)
    parts = connected_parts(law, most=1000)
    assert [p.mass for p in parts] == pytest.approx(by_brute_force(law, LEVEL)[0])
    assert len(parts) > 1


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("width_km", [60.0, 900.0])
def test_one_kernel_is_one_part_of_known_size_wherever_it_lies(name, width_km):
    """A kernel cut by a seam of the grid would fall in two. The map's cells are a quarter of the width."""
    (part,) = connected_parts(alone(at(name), width_km=width_km))
    # About a pole cells come in rings of one density, which are in the region or not as a whole.
    assert part.mass == pytest.approx(0.8, abs=0.04 if "pole" in name else 0.015)
    radius = cap_radius_km(part.mass, width_km)
    area = 2 * np.pi * EARTH_RADIUS_KM**2 * (1 - np.cos(radius / EARTH_RADIUS_KM))
    assert part.area_km2 == pytest.approx(area, rel=0.08)
    assert part.radius_km == pytest.approx(cap_radius_km(0.9 * part.mass, width_km), rel=0.2)
    assert float(distance_km(part.peak, at(name))) < 0.35 * width_km


def test_parts_come_by_mass_and_no_more_than_asked_for():
    places = unit_vectors([0.0, 40.0, -40.0], [0.0, 90.0, 180.0])
    law = alone(places, [0.2, 0.5, 0.3])
    parts = connected_parts(law, 0.9)
    assert [float(distance_km(places, p.peak).argmin()) for p in parts] == [1, 2, 0]
    assert [p.mass for p in parts] == pytest.approx([0.5, 0.3, 0.2], abs=0.06)
    assert len(connected_parts(law, 0.9, most=2)) == 2
    assert [p.mass for p in connected_parts(law, 0.9, most=2)] == [p.mass for p in parts[:2]]


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [([-17.0, -17.0], [179.0, -179.0]), ([89.0, 89.0], [0.0, 180.0]), ([-89.0, -89.0], [90.0, -90.0])],
)
def test_a_region_across_longitude_180_and_one_over_the_pole_are_not_cut(latitude, longitude):
    assert len(connected_parts(alone(unit_vectors(latitude, longitude), width_km=200.0))) == 1


@pytest.mark.parametrize(("apart_km", "number"), [(60.0, 1), (600.0, 2)])
def test_gaps_under_about_100_km_are_bridged(apart_km, number):
    degrees = np.degrees(apart_km / EARTH_RADIUS_KM)
    law = alone(unit_vectors([10.0, 10.0 + degrees], [20.0, 20.0]), width_km=5.0)
    assert len(connected_parts(law)) == number


def test_the_whole_sphere_is_one_part():
    (part,) = connected_parts(Law.resolved(MultiOrderMap.uniform()), 1.0)
    assert part.mass == pytest.approx(1.0)
    assert part.area_km2 == pytest.approx(SPHERE_AREA_KM2)
    assert 0.5 * np.pi < part.radius_km / EARTH_RADIUS_KM < np.pi * 1.01


@pytest.mark.parametrize("order", [2, 5, 8, 11])
def test_a_part_of_one_cell_has_the_cells_own_radius(order):
    index = 7 * 4**order // 3
    cells, mass = [int(to_nuniq(order, index))], [1.0]
    for level, here in ((level, index >> (2 * (order - level))) for level in range(order, 0, -1)):
        siblings = [i for i in range(here // 4 * 4, here // 4 * 4 + 4) if i != here]
        cells += [int(to_nuniq(level, i)) for i in siblings]
        mass += [1e-9] * 3
    cells += [int(to_nuniq(0, i)) for i in range(12) if i != index >> (2 * order)]
    law = Law.resolved(MultiOrderMap.from_cells(cells, np.array(mass + [1e-9] * 11)))
    (part,) = connected_parts(law, 0.5)
    assert part.radius_km == pytest.approx(np.sqrt(part.area_km2 / np.pi), rel=0.02)  # bins of a hundredth
    assert int(cells_at(order, part.peak[None])[0]) == index
    np.testing.assert_allclose(part.peak, cell_centres(order, np.array([index]))[0], atol=1e-12)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS)
def test_nine_tenths_of_a_part_lie_within_its_radius(seed):
    """To a cell, and to the hundredth that distances are told apart to."""
    law = Law.resolved(random_map(np.random.default_rng(seed), 100, deepest=5))
    cells = law.cells
    for part in connected_parts(law, 0.5, most=1):
        held = np.log(cells.density) >= law.threshold(0.5)
        reach = EARTH_RADIUS_KM / np.sqrt(3.0) / 2.0**cells.order
        far = distance_km(cells.centres, part.peak)
        within = held & (far + reach <= part.radius_km * 1.02)
        if len(connected_parts(law, 0.5)) == 1:
            assert cells.mass[within].sum() >= 0.9 * part.mass * (1 - 1e-9)
            nearer = held & (far + reach <= part.radius_km * 0.98)
            assert cells.mass[nearer].sum() <= 0.9 * part.mass * (1 + 1e-9)


def test_a_region_of_many_cells_is_measured_as_one_of_few():
    """Beyond 2,000 cells distances are measured between cells of 13 km."""
    rng = np.random.default_rng(0)
    few = alone(at("Paris"), width_km=400.0)
    fine = 12 * 4**8
    centres = cell_centres(8, np.arange(fine))
    mass = np.exp(-0.5 * concentration(400.0) * np.sum((centres - at("Paris")) ** 2, axis=1)) * rng.uniform(
        0.99, 1.01, fine
    )
    many = at_order(8, mass + 1e-12)
    (one,), (other,) = connected_parts(few), connected_parts(many)
    assert other.radius_km == pytest.approx(one.radius_km, rel=0.05)
    assert other.mass == pytest.approx(one.mass, abs=0.015)
