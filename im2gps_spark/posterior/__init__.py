"""From weighted neighbours to a distribution on the sphere and its summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from im2gps_spark.posterior.value import Posterior

__all__ = ["Posterior"]


def __getattr__(name: str) -> Any:
    """``Posterior``, imported when it is asked for: the configuration reads this package, and must start quickly."""
    if name == "Posterior":
        from im2gps_spark.posterior.value import Posterior

        return Posterior
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
