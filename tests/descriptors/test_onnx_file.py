"""Any network as a descriptor: what it is given, what counts of its answer, and networks that don't fit."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from im2gps_spark.descriptors.onnx_file import OnnxFile
from im2gps_spark.descriptors.onnx_settings import OnnxSettings

SIDE = 8
PLAIN = {"side": SIDE, "mean": [0.0, 0.0, 0.0], "scale": [1.0, 1.0, 1.0]}


def network(
    folder: Path,
    *,
    shape: tuple = ("N", 3, SIDE, SIDE),
    nodes: list | None = None,
    output: tuple = ("N", 3, SIDE, SIDE),
    kind: int = TensorProto.FLOAT,
    further: list | None = None,
) -> str:
    """By default one that says what it is shown."""
    graph = helper.make_graph(
        nodes or [helper.make_node("Identity", ["picture"], ["said"])],
        "tiny",
        [helper.make_tensor_value_info("picture", kind, shape)],
        [helper.make_tensor_value_info("said", kind, output), *(further or [])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path = folder / "tiny.onnx"
    path.write_bytes(model.SerializeToString())
    return str(path)


def described(model: str, pictures: np.ndarray, **options: object) -> np.ndarray:
    descriptor = OnnxFile(OnnxSettings.model_validate({**PLAIN, "model": model, **options}))
    return descriptor.describe([descriptor.prepare(picture) for picture in pictures])


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)


# --- what the network is given, and what counts of its answer ---


def test_the_mean_over_space_of_colours(tmp_path, pictures):
    found = described(network(tmp_path), pictures, pooling="mean")
    np.testing.assert_allclose(found, unit(pictures.mean(axis=(1, 2))), rtol=1e-6)
    assert found.dtype == np.float32


def test_mean_scale_and_the_order_of_colours(tmp_path, pictures):
    options = {"mean": [100.0, 10.0, 1.0], "scale": [1.0, 2.0, 4.0], "colours": "BGR", "pooling": "mean"}
    found = described(network(tmp_path), pictures, **options)
    blue_first = pictures.mean(axis=(1, 2))[:, ::-1]
    np.testing.assert_allclose(found, unit((blue_first - [100, 10, 1]) / [1, 2, 4]), rtol=1e-5)


def test_channels_last(tmp_path, pictures):
    """Rows of colours as tokens: (N, side, side x 3)."""
    constant = helper.make_tensor("rows", TensorProto.INT64, [3], [0, SIDE, SIDE * 3])
    nodes = [
        helper.make_node("Constant", [], ["rows"], value=constant),
        helper.make_node("Reshape", ["picture", "rows"], ["said"]),
    ]
    model = network(tmp_path, shape=("N", SIDE, SIDE, 3), nodes=nodes, output=("N", SIDE, SIDE * 3))
    rows = pictures.reshape(5, SIDE, SIDE * 3).astype(float)
    np.testing.assert_allclose(described(model, pictures, layout="NHWC", pooling="first"), unit(rows[:, 0]), rtol=1e-6)
    expected = unit(rows.mean(axis=1))
    np.testing.assert_allclose(described(model, pictures, layout="NHWC", pooling="mean"), expected, rtol=1e-6)


def test_an_output_among_several_and_no_pooling(tmp_path, pictures):
    nodes = [
        helper.make_node("Identity", ["picture"], ["said"]),
        helper.make_node("ReduceMax", ["picture"], ["most"], axes=[2, 3], keepdims=0),
    ]
    further = [helper.make_tensor_value_info("most", TensorProto.FLOAT, ("N", 3))]
    model = network(tmp_path, nodes=nodes, further=further)
    found = described(model, pictures, output="most")
    np.testing.assert_allclose(found, unit(pictures.max(axis=(1, 2)).astype(float)), rtol=1e-6)
    with pytest.raises(ValueError, match=r"outputs said, most: onnx\.output must name"):
        described(model, pictures)


def test_open_sizes_and_a_batch_of_one(tmp_path, pictures):
    usual = described(network(tmp_path), pictures, pooling="mean")
    for shape in (("N", "C", "H", "W"), (1, 3, SIDE, SIDE), ("N", 3, "H", SIDE)):
        model = network(tmp_path, shape=shape, output=shape)
        np.testing.assert_array_equal(described(model, pictures, pooling="mean", output="said"), usual)


def test_rows_do_not_depend_on_the_batch(tmp_path, pictures):
    model = network(tmp_path)
    alone = np.concatenate([described(model, pictures[i : i + 1], pooling="mean") for i in range(5)])
    np.testing.assert_array_equal(described(model, pictures, pooling="mean"), alone)


def test_the_dimension_is_found_out(tmp_path):
    descriptor = OnnxFile(OnnxSettings.model_validate({**PLAIN, "model": network(tmp_path), "pooling": "mean"}))
    assert descriptor.dimension == 3
    assert descriptor.describe([]).shape == (0, 3)


def test_a_network_that_says_nothing_is_no_vector(tmp_path):
    """NaN, which ``batch`` rejects as a bad descriptor: a zero would be as near to all."""
    assert np.isnan(described(network(tmp_path), np.zeros((1, SIDE, SIDE, 3), np.uint8), pooling="mean")).all()


# --- versions ---


def test_the_version_follows_the_content_and_the_settings(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()

    def version(model: str, **options: object) -> str:
        return OnnxFile(OnnxSettings.model_validate({**PLAIN, "model": model, **options})).version

    model = network(one)
    assert version(model) == version(network(other))
    changed = [
        version(network(other, shape=("N", 3, 16, 16), output=("N", 3, 16, 16))),
        version(model, side=16),
        version(model, colours="BGR"),
        version(model, layout="NHWC"),
        version(model, mean=[1.0, 0.0, 0.0]),
        version(model, scale=[2.0, 1.0, 1.0]),
        version(model, output="said"),
        version(model, pooling="mean"),
    ]
    assert len({version(model), *changed}) == len(changed) + 1


def test_it_travels_without_its_session(tmp_path, pictures):
    descriptor = OnnxFile(OnnxSettings.model_validate({**PLAIN, "model": network(tmp_path), "pooling": "mean"}))
    descriptor.describe(list(pictures))
    arrived = pickle.loads(pickle.dumps(descriptor))
    np.testing.assert_array_equal(arrived.describe(list(pictures)), descriptor.describe(list(pictures)))


def test_a_file_that_changes_is_noticed(tmp_path, pictures):
    descriptor = OnnxFile(OnnxSettings.model_validate({**PLAIN, "model": network(tmp_path), "pooling": "mean"}))
    assert descriptor.version
    network(tmp_path, shape=("N", 3, "H", "W"))
    with pytest.raises(ValueError, match="has changed since its version was taken"):
        descriptor.describe(list(pictures))


# --- networks that don't fit ---


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"side": 16}, r"takes \['N', 3, 8, 8\], and would be given \[1, 3, 16, 16\]: mend onnx.side"),
        ({"layout": "NHWC"}, r"would be given \[1, 8, 8, 3\]: mend onnx.side or onnx.layout"),
        ({"output": "features"}, r"no output 'features' \(onnx.output\); it has said"),
        ({"pooling": "none"}, r"onnx.pooling=none is not for: it takes 2 axes"),
        ({"pooling": "first"}, r"it takes 3 axes"),
    ],
)
def test_settings_that_are_not_the_models(options, says, tmp_path, pictures):
    with pytest.raises(ValueError, match=says):
        described(network(tmp_path), pictures, **{"pooling": "mean", **options})


def test_a_batch_of_another_fixed_size(tmp_path, pictures):
    with pytest.raises(ValueError, match=r"a batch of fixed size must be 1"):
        described(network(tmp_path, shape=(4, 3, SIDE, SIDE), output=(4, 3, SIDE, SIDE)), pictures, pooling="mean")


def test_another_type_of_number(tmp_path, pictures):
    with pytest.raises(ValueError, match=r"takes tensor\(double\); it must take float32"):
        described(network(tmp_path, kind=TensorProto.DOUBLE), pictures, pooling="mean")


def test_a_file_that_is_no_model(tmp_path, pictures):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model at all")
    with pytest.raises(ValueError, match=r"onnx.model .*model.onnx: onnxruntime can't read it"):
        described(str(path), pictures)


def test_no_file(tmp_path, pictures):
    with pytest.raises(FileNotFoundError):
        described(str(tmp_path / "none.onnx"), pictures)
    with pytest.raises(ValueError, match=r"onnx\.model names no file"):
        OnnxFile().version  # noqa: B018
