"""An owner's photos leave the prior: what is left is the prior that would be made without them."""

import numpy as np
import pytest

from im2gps_spark.evaluation.leave_out import moved, without
from im2gps_spark.grid import MultiOrderMap, cell_centres, cells_at, resolve
from im2gps_spark.posterior.prior import PLACE_ORDER, UNIFORM_SHARE, Places, prior_map
from im2gps_spark.sphere import concentration, normalised, unit_vectors
from tests.evaluation.laws import about, anywhere, uneven


def around(centres, width_km, rng):
    """A point near each centre (n, 3), as good as normal in the plane."""
    return normalised(centres + rng.normal(size=centres.shape) / np.sqrt(concentration(width_km)))


def places(points, vote) -> Places:
    cell, count = np.unique(cells_at(PLACE_ORDER, points), return_counts=True)
    return Places(cell, np.zeros(len(cell), np.int8), np.asarray(count, np.float64) * vote)


def together(*parts: Places) -> Places:
    cell = np.concatenate([part.cell for part in parts])
    distinct, which = np.unique(cell, return_inverse=True)
    vote = np.bincount(which, weights=np.concatenate([part.vote for part in parts]))
    return Places(distinct, np.zeros(len(distinct), np.int8), np.asarray(vote, np.float64))


def prior_of(some: Places) -> MultiOrderMap:
    return prior_map(cell_centres(PLACE_ORDER, some.cell), some.vote, steps=some.step)


RNG = np.random.default_rng(8)
OTHERS = places(around(anywhere(40, RNG)[RNG.integers(0, 40, 600)], 150.0, RNG), 1.0)
HOMES = {
    "a spot": (unit_vectors(-20.0, -100.0), 0.5),
    "a town": (unit_vectors(-20.0, 60.0), 10.0),
    "a country": (unit_vectors(15.0, 170.0), 300.0),
}


@pytest.fixture(scope="module", params=HOMES)
def world(request):
    """100 photos of one owner about a home, among 600 of others: (truths there, corpus, owner, prior, the others')."""
    home, width = HOMES[request.param]
    truths = around(np.repeat(home[None], 130, axis=0), width, np.random.default_rng(9))
    owner = places(truths[:100], 100**-0.5)
    corpus = together(OTHERS, owner)
    return truths[100:], corpus, owner, prior_of(corpus), prior_of(OTHERS)


def nll(law, truths):
    return float(-np.log(law.density[law.find(truths)]).mean())


def test_the_leak_is_there_and_is_gone(world):
    """At the owner's next photos the whole corpus' prior is better by nats, the prior without the owner as it ought."""
    truths, corpus, owner, whole, rest = world
    assert nll(whole, truths) < nll(rest, truths) - 1.0
    assert nll(without(whole, corpus, owner), truths) == pytest.approx(nll(rest, truths), abs=0.1)


def test_elsewhere_it_is_the_prior_of_the_others(world):
    _, corpus, owner, whole, rest = world
    left = without(whole, corpus, owner).check()
    assert np.array_equal(left.cells, whole.cells)
    there = np.concatenate([anywhere(200, np.random.default_rng(1)), cell_centres(PLACE_ORDER, OTHERS.cell)])
    ratio = np.log(left.density[left.find(there)] / rest.density[rest.find(there)])
    assert abs(ratio.mean()) < 0.05
    assert np.abs(rest.mass_within(left.order, left.index) - left.mass).sum() / 2.0 < 0.05
    assert left.density.min() >= UNIFORM_SHARE / (4.0 * np.pi) * 0.98


def test_an_owner_without_photos_changes_nothing(world):
    _, corpus, _, whole, _ = world
    assert without(whole, corpus, Places(np.zeros(0, np.int64), np.zeros(0, np.int8), np.zeros(0))) is whole


def test_an_owner_of_the_whole_corpus_leaves_the_uniform_law(world):
    _, corpus, _, whole, _ = world
    assert np.array_equal(without(whole, corpus, corpus).mass, MultiOrderMap.uniform().mass)


def test_an_answer_keeps_its_ratio_to_the_prior():
    prior, other, relative = about(0.0, 0.0, 3000.0, floor=0.3), about(20.0, 30.0, 4000.0, floor=0.3), uneven(3)
    law, there = resolve(relative, prior), anywhere(500, np.random.default_rng(2))
    new = resolve(moved(relative, prior, other), other).check()

    def at(m):
        return m.density[m.find(there)]

    ratio = (at(new) / at(other)) / (at(law) / at(prior))
    assert ratio == pytest.approx(ratio[0])


def test_an_answer_that_is_the_prior_stays_so():
    prior, other = about(0.0, 0.0, 3000.0), about(20.0, 30.0, 4000.0)
    same = MultiOrderMap(MultiOrderMap.uniform().cells, prior.mass_within(np.zeros(12, int), np.arange(12)))
    left = resolve(moved(same, prior, other), other)
    assert left.mass == pytest.approx(other.mass)
    assert moved(same, prior, prior) is same
