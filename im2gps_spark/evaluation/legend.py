"""What the page calls its figures, how their numbers look, and how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from im2gps_spark.atlas import words

PERCENT, KM, KM2, NATS = "percent", "km", "km2", "nats"
"""Forms of a number: a share, whole kilometres, an area, and three decimals."""

Lines = Sequence[tuple[str, str, str]]
"""Metric, words and form."""

FIGURES: Mapping[str, Lines] = {
    "Points": (
        *((f"accuracy_{r}km", f"mode within {r:,} km", PERCENT) for r in (1, 25, 200, 750, 2500)),
        *((f"disc_accuracy_{r}km", f"disc point within {r:,} km", PERCENT) for r in (1, 25, 200, 750, 2500)),
        ("median_error_km", "median error of the mode, km", KM),
        ("mean_error_km", "mean error of the mode, km", KM),
        ("mean_median_point_error_km", "mean error of the median point, km", KM),
        ("geoscore", "GeoScore of the mode, of 5,000", KM),
    ),
    "The whole distribution": (
        ("gain_over_prior", "gain over the prior, nats", NATS),
        ("nll", "NLL, nats", NATS),
        ("gain_over_prior_order7", "gain over the prior in 51 km cells, nats", NATS),
        ("nll_order7", "NLL in 51 km cells, nats", NATS),
        ("energy_score_km", "energy score, km", KM),
        ("energy_score_chord", "energy score by chords", NATS),
    ),
    "Calibration": tuple((f"coverage{p}", f"{p} % region holds the truth", PERCENT) for p in (50, 80, 90, 95)),
    "Sharpness": (
        ("entropy", "entropy, nats", NATS),
        ("area50_km2", "50 % region, km²", KM2),
        ("area90_km2", "90 % region, km²", KM2),
        ("searched_km2", "searched until found, km²", KM2),
    ),
    "Certainty": (
        ("spearman_entropy_error", "rank correlation of entropy and error", NATS),
        *((f"aurc_{r}km", f"mean risk over coverages, {r:,} km", PERCENT) for r in (200, 750, 2500)),
        ("risk_750km_at_20", "risk of the 20 % most certain, 750 km", PERCENT),
    ),
}
"""Lines of the main table, by group."""

STRATA: Lines = (
    ("accuracy_200km", "within 200 km", PERCENT),
    ("accuracy_750km", "within 750 km", PERCENT),
    ("accuracy_2500km", "within 2,500 km", PERCENT),
    ("median_error_km", "median error, km", KM),
    ("energy_score_km", "energy score, km", KM),
    ("gain_over_prior", "gain over the prior, nats", NATS),
    ("coverage50", "50 % region holds", PERCENT),
    ("coverage90", "90 % region holds", PERCENT),
)
"""Columns of the table of strata."""


def value(number: float, form: str) -> str:
    """A figure's number as plain text."""
    if form == PERCENT:
        return f"{100 * number:.1f}\N{NO-BREAK SPACE}%"
    if form == KM:
        return f"{number:,.0f}"
    if form == KM2:
        return f"{words.rounded(number / 1e6)}\N{NO-BREAK SPACE}million" if number >= 1e6 else words.rounded(number)
    return f"{number:.3f}".replace("-", "−")


def method(resamples: int, owners_left_out: bool) -> str:
    """How the figures were made, as plain text."""
    left_out = (
        "Owners count as new: their own photos are not among the neighbours and not in the prior."
        if owners_left_out
        else "The owners’ own photos in the corpus count as evidence."
    )
    return (
        f"Intervals: percentile bootstrap over owners, {resamples:,} resamples. {left_out} NLL: negative log density "
        "at the true place, per steradian (uniform: 2.531); in 51 km cells: of the mean density of the truth’s HEALPix "
        "cell of order 7, which no repeated geotag can push. Energy score: expected distance to the truth less half "
        "that between two draws (uniform: 5,003.8 km, 0.667 by chords). Disc point: the place with most mass within "
        "25, 200 or 750 km. knn120: one kernel of 200 km on each of 120 neighbours and 1 % uniform, its point the "
        "densest neighbour. prior, uniform: points are drawn at random. The lower the better: errors, NLL, energy "
        "scores, areas, risks."
    )
