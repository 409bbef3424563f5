"""Scores of many photos to figures with intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.evaluation.bootstrap import Bootstrap, Figure
from im2gps_spark.evaluation.certainty import certainty_figures
from im2gps_spark.evaluation.scores import LAW
from im2gps_spark.evaluation.strata import MAIN
from im2gps_spark.sphere import Floats

RADII_KM = (1.0, 25.0, 200.0, 750.0, 2500.0)
"""Street, city, region, country, continent (Hays & Efros 2015; Weyand et al. 2016)."""
DISCS_KM = (25.0, 200.0, 750.0)
"""Radii of the discs of most mass whose centres ``posteriors`` has: the points that accuracies ask for."""
LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Highest-density regions whose coverage is reported."""
GEOSCORE_KM = 1492.7
"""GeoGuessr's: 5,000 points fall by e each so many kilometres."""

GAINS = ("gain_over_prior", "gain_over_prior_order7")
_MEANS = (*LAW, *GAINS)


def disc_of(radius_km: float) -> float:
    """The disc whose centre answers for an accuracy radius: its own, else the nearest that there is."""
    return min(DISCS_KM, key=lambda disc: abs(np.log(disc / radius_km)))


def figures(scores: Mapping[str, Floats], draw: Bootstrap) -> list[Figure]:
    """The figures of one engine on one stratum.

    Args:
        scores: columns (n,) of some of ``scores.LAW``, ``GAINS``, ``error_km`` (of the mode), ``discN_error_km`` and
            ``median_point_error_km``; NaN where unknown. ``error_km`` may be (n, m), m guesses for each photo: their
            accuracies are averaged, their median is that of all.
        draw: of the same photos.
    """
    made = []
    for name, column in scores.items():
        known = np.asarray(np.isfinite(column.reshape(len(column), -1)).all(axis=1))
        if not known.any():
            continue
        values, some = column[known], draw.among(known)
        if name == "hpd_level":
            made += [some.mean(f"coverage{round(100 * level)}", _share(values <= level)) for level in LEVELS]
        elif name in _MEANS:
            made.append(some.mean(name, values))
        elif name == "error_km":
            made += [some.mean(f"accuracy_{r:g}km", _share(values <= r)) for r in RADII_KM]
            made.append(some.median("median_error_km", values))
            made.append(some.mean("mean_error_km", _rows(values)))
            made.append(some.mean("geoscore", _rows(5000.0 * np.exp(-values / GEOSCORE_KM))))
        elif name == "median_point_error_km":
            made += [some.median(f"median_{name}", values), some.mean(f"mean_{name}", values)]
        else:
            disc = float(name.removeprefix("disc").removesuffix("_error_km"))
            radii = [r for r in RADII_KM if disc_of(r) == disc]
            made += [some.mean(f"disc_accuracy_{r:g}km", _share(values <= r)) for r in radii]
    return made


def _rows(values: Floats) -> Floats:
    """(n,) means of (n,) or (n, m)."""
    return np.asarray(values.reshape(len(values), -1).mean(axis=1))


def _share(hits: NDArray[np.bool_]) -> Floats:
    """(n,) shares of hits (n,) or (n, m)."""
    return _rows(hits.astype(np.float64))


Row = tuple[str, str, Figure]
"""Engine, stratum, figure."""


def compare(
    scores: Mapping[str, Mapping[str, Floats]],
    parts: Mapping[str, NDArray[np.bool_]],
    owners: NDArray,
    resamples: int,
) -> list[Row]:
    """The figures of all engines on all strata; how they rank their answers on the main strata alone.

    Args:
        scores: by engine, columns of the same n photos as ``figures`` takes them.
        parts: members (n,) of each stratum.
        owners: (n,).
        resamples: of the owners.
    """
    made: list[Row] = []
    for stratum, inside in parts.items():
        draw = Bootstrap(owners[inside], resamples)
        for engine, columns in scores.items():
            mine = {name: column[inside] for name, column in columns.items()}
            found = figures(mine, draw)
            if stratum in MAIN:
                found += _certainty(mine, draw)
            made += [(engine, stratum, figure) for figure in found]
    return made


def _certainty(scores: Mapping[str, Floats], draw: Bootstrap) -> list[Figure]:
    """Of an engine that has one point for each photo, and laws that differ."""
    entropy, error = scores.get("entropy"), scores.get("error_km")
    if entropy is None or error is None or error.ndim > 1:
        return []
    known = np.isfinite(entropy) & np.isfinite(error)
    return certainty_figures(entropy[known], error[known], draw.among(known)) if known.any() else []


def with_gains(scores: Mapping[str, Mapping[str, Floats]], prior: str) -> dict[str, dict[str, Floats]]:
    """Scores with each law's gains over the prior's, photo by photo."""
    made = {engine: dict(columns) for engine, columns in scores.items()}
    for engine, columns in made.items():
        for gain, nll in zip(GAINS, ("nll", "nll_order7"), strict=True):
            if engine != prior and nll in columns:
                columns[gain] = scores[prior][nll] - columns[nll]
    return made
