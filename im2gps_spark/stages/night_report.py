"""What a night ends with: counts by reason, accuracy and calibration against the last weeks', drift of the index."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pyspark.sql import functions as F

from im2gps_spark.config import Config
from im2gps_spark.photos.reasons import Reason, Status
from im2gps_spark.stages.drift import Drift
from im2gps_spark.stages.run import Run, Tally
from im2gps_spark.store.tables import EVALUATIONS

Steps = dict[str, Tally]
"""What each step of a night did, by its name, in order."""

INDEX = "index"
"""The stratum of figures that are of the index, not of answers."""

_FIGURES = {
    "accuracy_25km": "within 25 km",
    "accuracy_200km": "within 200 km",
    "accuracy_750km": "within 750 km",
    "median_error_km": "median error, km",
    "gain_over_prior": "gain over the prior, nats",
    "coverage50": "50 % region holds",
    "coverage80": "80 % region holds",
    "coverage90": "90 % region holds",
}
_DRIFT = {"coarse_drift": "coarse quantizer", "code_drift": "with its codes"}


def keep_drift(run: Run, config: Config, drift: Drift | None) -> None:
    """Rows of ``evaluations`` for the night's drift, of the stratum ``index``."""
    if drift is None:
        run.say("the index's drift is not known: its training was kept by an earlier version, or no photo is described")
        return
    version = run.library.current().index_version
    about = (version, config.geolocate.collection, config.geolocate.night)
    # Sums follow the order of tasks in their last digits; a row must not.
    values = {"coarse_drift": round(drift.coarse, 9), "code_drift": round(drift.code, 9)}
    rows = [
        (run.id, config.geolocate.engine, INDEX, metric, value, None, None, drift.n, *about)
        for metric, value in values.items()
    ]
    run.lake.merge(EVALUATIONS, run.lake.rows(EVALUATIONS, rows))


def night_report(run: Run, config: Config, steps: Steps, located: int) -> None:
    """Says the report, and writes it to ``nightly.folder``/DATE.txt; a repeated night that did nothing leaves it."""
    night = config.geolocate.night
    assert night is not None
    name = f"{night}.txt"
    lines = [
        f"Night {night} of {config.geolocate.collection}: {located} photos located",
        "",
        *_counts({**steps, "join": run.tally}),
        "",
        *_accuracy(run, config, night),
        "",
        *_drift(run, config, night),
    ]
    for line in lines:
        if line:
            run.say(line)
    written = run.folder(config.nightly.folder).checksum(name) is not None
    if not written or steps["describe"].rows_in or steps["geolocate"].rows_in:
        run.write_file(f"{config.nightly.folder.rstrip('/')}/{name}", "\n".join([*lines, ""]).encode())


def _counts(steps: Steps) -> list[str]:
    lines = [f"{'step':12}{'in':>10}{'ok':>10}{'rejected':>10}{'retry':>10}{'a second':>10}"]
    for name, tally in steps.items():
        counts = (tally.rows_in, *(tally.count(status) for status in (Status.OK, Status.REJECTED, Status.RETRY)))
        rate = f"{tally.rows_in / tally.seconds:>10.0f}" if tally.seconds else ""
        lines.append((f"{name:12}" + "".join(f"{count:>10}" for count in counts) + rate).rstrip())
        reasons = sorted((n, reason) for (_, reason), n in tally.outcomes.items() if reason)
        lines += [f"{'':12}{n:>10}  {reason}: {Reason(reason).meaning}" for n, reason in reversed(reasons)]
    return lines


def _accuracy(run: Run, config: Config, night: dt.date) -> list[str]:
    """This night's figures beside the mean of the nights before, weighted by their photos."""
    since = night - dt.timedelta(weeks=config.nightly.weeks)
    rows = _rows(run, config, "all", _FIGURES, since, night)
    if not any(row["night"] == night for row in rows):
        return ["No photo of this night could be judged."]
    lines = [f"{'':28}{'this night':>12}{'95 %':>20}{f'last {config.nightly.weeks} weeks':>15}"]
    for metric, words in _FIGURES.items():
        now = [row for row in rows if row["metric"] == metric and row["night"] == night]
        before = [row for row in rows if row["metric"] == metric and row["night"] < night and row["n"]]
        n = sum(row["n"] for row in before)
        mean = f"{sum(row['n'] * row['value'] for row in before) / n:>15.3f}" if n else f"{'':>15}"
        for row in now:
            interval = f"{row['low']:.3f} to {row['high']:.3f}" if row["low"] is not None else ""
            lines.append(f"{words:28}{row['value']:>12.3f}{interval:>20}{mean}".rstrip())
    return lines


def _drift(run: Run, config: Config, night: dt.date) -> list[str]:
    rows = {row["metric"]: row["value"] for row in _rows(run, config, INDEX, _DRIFT, night, night)}
    if not rows:
        return ["Drift of the index: not known."]
    words = ", ".join(f"{words} {rows[metric]:.3f}" for metric, words in _DRIFT.items() if metric in rows)
    lines = [f"Drift of the index (quantization error over that of its training sample): {words}"]
    if max(rows.values()) > config.nightly.max_drift:
        lines.append(
            f"That is over nightly.max_drift {config.nightly.max_drift:g}: run train and build, then calibrate."
        )
    return lines


def _rows(
    run: Run, config: Config, stratum: str, metrics: Sequence[str] | dict[str, str], since: dt.date, until: dt.date
) -> list:
    here = (F.col("engine") == config.geolocate.engine) & (F.col("collection") == config.geolocate.collection)
    when = F.col("night").between(F.lit(since), F.lit(until))
    which = (F.col("stratum") == stratum) & F.col("metric").isin(list(metrics)) & F.col("value").isNotNull()
    return run.lake.read(EVALUATIONS).filter(here & when & which).collect()
