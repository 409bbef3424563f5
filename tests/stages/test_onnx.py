"""A network of one's own as the descriptor: described, trained and built by; and refused where it does not fit."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx import TensorProto, helper

from im2gps_spark.errors import UsageError
from im2gps_spark.photos.reasons import Status
from im2gps_spark.store.tables import DESCRIPTORS
from tests.stages import Workshop, line

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]

SIDE, PHOTOS = 8, 12


def write_network(path: Path) -> None:
    """What it says of a picture is its mean colour."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["picture"], ["said"])],
        "tiny",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ("N", 3, SIDE, SIDE))],
        [helper.make_tensor_value_info("said", TensorProto.FLOAT, ("N", 3, SIDE, SIDE))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def workshop(spark, tmp_path_factory) -> Workshop:
    folder = tmp_path_factory.mktemp("onnx")
    write_network(folder / "tiny.onnx")
    colours = np.random.default_rng(0).integers(1, 256, (PHOTOS, 1, 1, 3), dtype=np.uint8)
    lines = []
    for number, colour in enumerate(colours, start=1):
        cv2.imwrite(str(folder / f"{number}.png"), np.broadcast_to(colour, (20, 30, 3)))
        lines.append(line(number, f"{number}@N00", 3.0 * number, 2.0 * number))
    (folder / "meta.tsv").write_text("".join(lines))
    made = Workshop.opened(
        folder,
        photos={"root": str(folder), "key": "{photo_id}.png", "metadata": [str(folder / "meta.tsv")]},
        describe={"descriptors": ["onnx"]},
        onnx={"model": str(folder / "tiny.onnx"), "side": SIDE, "mean": [0.0] * 3, "scale": [1.0] * 3},
        index={"root": str(folder / "index"), "descriptor": "onnx"},
    )
    made.run("ingest")
    return made


def test_a_network_of_ones_own(workshop):
    assert workshop.run("describe", "onnx.pooling=mean").count(Status.OK) == PHOTOS
    rows = workshop.rows(DESCRIPTORS)
    assert {(row["descriptor"], len(row["vector"])) for row in rows} == {("onnx", 3)}
    for stage in ("train", "build"):
        workshop.run(stage, "onnx.pooling=mean")
    assert workshop.run("describe", "onnx.pooling=mean").rows_in == 0


def test_other_settings_are_another_version(workshop):
    workshop.run("describe", "onnx.pooling=mean")
    other = ("onnx.pooling=mean", "onnx.colours=BGR")
    with pytest.raises(UsageError, match="describe"):
        workshop.run("train", *other)
    assert workshop.run("describe", *other).count(Status.OK) == PHOTOS
    assert len({row["version"] for row in workshop.rows(DESCRIPTORS)}) == 2


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("onnx.model=/gone/model.onnx", r"onnx\.model: .*/gone/model\.onnx"),
        ("onnx.model=", r"onnx\.model names no file"),
        ("onnx.side=16", r"mend onnx\.side or onnx\.layout"),
    ],
)
def test_a_model_that_does_not_fit_is_told_before_work_starts(workshop, override, says):
    with pytest.raises(UsageError, match=says):
        workshop.run("describe", "onnx.pooling=mean", override)
