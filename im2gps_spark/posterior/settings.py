"""The keys that shape a posterior density, with defaults measured on held-out owners (docs/posterior.md)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

EXPERTS = ("similarity",)
"""Whose scores say how much a neighbour's place counts: retrieval's, standardised (``votes.standard_similarity``)."""


class PosteriorSettings(BaseModel):
    """Weights and widths of the kernels, and how finely the map follows the density."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    experts: dict[str, float] = {"similarity": 1.0}
    """Exponent of each expert's score in a neighbour's weight (``EXPERTS``)."""
    sharpness: list[float] = [0.4, 0.8, 1.6, 3.2, 6.4]
    """A neighbour's log weight per standard deviation of similarity: several, for some corpora recognise places and
    others only kinds of them."""
    sharpness_shares: list[float] = [0.15, 0.79, 0.06, 0.0, 0.0]
    """Share of each sharpness in a neighbour's weight; scaled to sum to 1."""
    owner_damping: float = Field(0.5, ge=0, le=1)
    """A photo's vote is divided by (photos of its owner in the corpus) to this power."""
    widths_km: list[float] = [25.0, 100.0, 400.0, 1600.0]
    """Widths (sigma) of the kernels through which neighbours see the prior; the narrowest is the floor that keeps
    exact repeats of a geotag from ruling."""
    width_shares: list[float] = [0.02, 0.14, 0.3, 0.54]
    """Share of each width in the neighbours' part; scaled to sum to 1."""
    prior_share: float = Field(0.02, ge=0, le=1)
    """Share of the corpus' prior in the density."""
    uniform_share: float = Field(0.03, gt=0, le=0.05)
    """Share of the uniform law, so that the density is positive everywhere."""
    calibrated: bool = True
    """Whether the shares that ``calibrate`` found for the index in use take the place of those given here."""
    tolerance: float = Field(0.05, gt=0, lt=1)
    """Total variation at which refinement of a photo's map stops."""

    @model_validator(mode="after")
    def _shares_fit(self) -> PosteriorSettings:
        for name, values, shares in (
            ("width_shares", self.widths_km, self.width_shares),
            ("sharpness_shares", self.sharpness, self.sharpness_shares),
        ):
            if not values or len(values) != len(shares):
                raise ValueError(f"{name} must have one share for each value, and not be empty")
            if min(shares) < 0 or sum(shares) <= 0:
                raise ValueError(f"{name} must not be negative, and not all zero")
        if not self.experts or set(self.experts) - set(EXPERTS):
            raise ValueError(f"experts must name some of {', '.join(EXPERTS)}")
        if min(self.sharpness) < 0 or max(self.sharpness) > 50:
            raise ValueError("sharpness must lie between 0 and 50")
        if min(self.widths_km) < 5.0 or max(self.widths_km) > 10_000:
            raise ValueError("widths_km must lie between 5 and 10,000 km")
        if sorted(set(self.widths_km)) != self.widths_km:
            raise ValueError("widths_km must increase")
        if self.prior_share + self.uniform_share > 1:
            raise ValueError("prior_share and uniform_share must not exceed 1 together")
        return self
