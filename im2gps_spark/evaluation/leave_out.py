"""The photo's owner taken out of the prior, and so out of an answer that is relative to it.

A prior made of all photos of the corpus knows where their owners go: an owner who has photos in it gains half a nat
that an unknown one would not (docs/posterior.md). Whoever is judged as unknown must leave it.
"""

from __future__ import annotations

import numpy as np

from im2gps_spark.grid import MultiOrderMap, cell_centres
from im2gps_spark.posterior.prior import PLACE_ORDER, Places, Shape, kernels_at, prior_map
from im2gps_spark.sphere import Floats

# Of a cell that is the owner's by more than this, hardly anything is left but the errors of both maps.
_MOSTLY_THEIRS = 0.5


def without(prior: MultiOrderMap, corpus: Places, owner: Places, shape: Shape | None = None) -> MultiOrderMap:
    """The prior map as it would be without an owner's photos, on the same cells.

    The prior q is linear in the votes: without an owner whose prior is d and whose share of the votes s, it is
    (q - s d) / (1 - s). Where most of a cell is the owner's, that is a difference of two maps' errors, and the
    others' kernels at the cell's centre, which are smooth there, are taken instead.

    Args:
        prior: the map of all of the corpus (``posterior.prior.prior_map``).
        corpus: the corpus' votes by cell of ``PLACE_ORDER``, the owner's among them.
        owner: the owner's.
        shape: what the prior is made of; the defaults if not given.

    Returns:
        a map of mass 1, nowhere below the prior's uniform part. The prior itself, if the owner has no vote; the
        uniform law, if all others have none.
    """
    mine, everyone = float(owner.vote.sum()), float(corpus.vote.sum())
    if mine <= 0:
        return prior
    share, made_of = mine / everyone, shape or Shape()
    if share > 1.0 - 1e-9:
        return MultiOrderMap.uniform()
    alone = prior_map(cell_centres(PLACE_ORDER, owner.cell), owner.vote, steps=owner.step, shape=made_of)
    theirs = share * alone.mass_within(prior.order, prior.index)
    floor = made_of.uniform * prior.area_sr / (4.0 * np.pi)
    mass = np.maximum((prior.mass - theirs) / (1.0 - share), floor)
    redo = np.flatnonzero(theirs > _MOSTLY_THEIRS * prior.mass)
    centres = prior.centres_of(redo)
    rest = np.maximum(_kernels(centres, corpus, made_of) - _kernels(centres, owner, made_of), 0.0) / (everyone - mine)
    mass[redo] = (1.0 - made_of.uniform) * rest * prior.area_sr[redo] + floor[redo]
    return MultiOrderMap(prior.cells, mass / mass.sum())


def _kernels(points: Floats, places: Places, shape: Shape) -> Floats:
    return kernels_at(points, cell_centres(PLACE_ORDER, places.cell), places.vote, places.step, shape)


def moved(relative: MultiOrderMap, prior: MultiOrderMap, to: MultiOrderMap) -> MultiOrderMap:
    """A map that is relative to one prior as one that is relative to another: its ratio to the prior is kept.

    Cells that the new prior makes impossible lose their mass; what is left is scaled to 1.
    """
    if to is prior:
        return relative
    ratio = relative.mass / prior.mass_within(relative.order, relative.index)
    mass = ratio * to.mass_within(relative.order, relative.index)
    return MultiOrderMap(relative.cells, mass / mass.sum())
