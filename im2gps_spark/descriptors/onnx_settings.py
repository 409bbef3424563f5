"""Keys of the configuration that say what the descriptor ``onnx`` is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Channels = Annotated[list[float], Field(min_length=3, max_length=3)]


class OnnxSettings(BaseModel):
    """A network in a file, what it takes and what of its answer is the descriptor."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    model: str = ""
    """The ONNX file, at this path on every worker; weights inside."""
    side: int = Field(224, ge=8, le=4096)
    """Of the square that a picture is stretched to, pixels."""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    """Order of batch, channels, height and width."""
    colours: Literal["RGB", "BGR"] = "RGB"
    """Order of the channels; mean and scale are in the same."""
    mean: Channels = [123.675, 116.28, 103.53]
    """By channel, of values from 0 to 255; the network takes (x - mean) / scale. These are ImageNet's."""
    scale: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)] = [58.395, 57.12, 57.375]
    output: str = ""
    """Name of the output; the only one if empty."""
    pooling: Literal["none", "mean", "first"] = "none"
    """Of N x numbers none; of N x tokens x numbers their mean, or the first token; of N x channels x height x width the
    mean over space."""
