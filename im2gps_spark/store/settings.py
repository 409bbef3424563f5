"""Keys of the configuration that say which object store, and how to ask it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

SCHEME = "s3://"

MEND = "mend s3.endpoint, s3.anonymous or the credentials in the environment"
"""What to do about a store that can't be asked."""


class S3Settings(BaseModel):
    """Which store ``s3://`` means. Credentials come from the standard chain (environment, profile, role) alone."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    endpoint: str = ""
    """URL of the store; AWS if empty."""
    region: str = "us-east-1"
    anonymous: bool = False
    """Whether requests are not signed: for public buckets."""
    connect_timeout_s: float = Field(5.0, gt=0)
    read_timeout_s: float = Field(20.0, gt=0)
    """Seconds without a byte after which a request counts as lost."""
