"""Two looks and the middle layers: that they are what they are called, and one vector of them."""

from __future__ import annotations

import pickle

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.descriptors import efficientnet_lite, lite0_deep, onnx_session
from im2gps_spark.descriptors.efficientnet_lite import CHANNELS, to_onnx
from im2gps_spark.descriptors.lite0 import Lite0, model_bytes, weights_path
from im2gps_spark.descriptors.lite0_deep import VIEWS, Lite0Deep, Looks, combine, embedding, look, moments_by_part
from im2gps_spark.descriptors.torch_legacy import read_state_dict

WIDTHS = [width for channels in CHANNELS for width in (channels, channels)]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (3, 6, 5, 3), dtype=np.uint8)
    return [np.kron(picture, np.ones((50, 80, 1), np.uint8)) for picture in coarse]


@pytest.fixture(scope="module")
def prepared(pictures) -> list[np.ndarray]:
    return [Lite0Deep().prepare(picture) for picture in pictures]


@pytest.fixture(scope="module")
def looks(prepared) -> Looks:
    return look(prepared)


def random_looks(seed: int, n: int = 40) -> Looks:
    rng = np.random.default_rng(seed)
    embeddings = rng.gamma(0.5, size=(n, len(VIEWS), 1280))
    moments = rng.normal(size=(n, len(VIEWS), sum(WIDTHS)))
    return Looks(embeddings.astype(np.float32), moments.astype(np.float32))


# --- the network ---


def test_the_model_with_moments():
    model = onnx.load_from_string(model_bytes(moments=True))
    onnx.checker.check_model(model, full_check=True)
    shapes = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"image": ["N", 3, "side", "side"], "embedding": ["N", 1280], "moments": ["N", sum(WIDTHS)]}


def test_padding_for_the_usual_side_is_right_for_others(monkeypatch):
    """The graphs for sides of 224 and of 320 are the same, hence one graph serves both."""
    weights = read_state_dict(weights_path().read_bytes())
    usual = to_onnx(weights, moments=True)
    monkeypatch.setattr(efficientnet_lite, "SIDE", lite0_deep.SIDE)
    assert to_onnx(weights, moments=True) == usual
    monkeypatch.setattr(efficientnet_lite, "SIDE", 225)
    assert to_onnx(weights, moments=True) != usual


def test_moments_are_those_of_the_stages(prepared, looks):
    """Against the stages' whole outputs, of the same graph with these as outputs."""
    import onnxruntime

    model = onnx.load_from_string(model_bytes(moments=True))
    ends = [node.input[0] for node in model.graph.node if node.op_type == "Mul"]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ends)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    image = ((prepared[0].astype(np.float32) - 127) / 128).transpose(2, 0, 1)[None]
    stages = session.run(ends, {"image": image})
    assert [stage.shape[1] for stage in stages] == list(CHANNELS)
    expected = np.concatenate([f(stage[0]) for stage in stages for f in (_mean, lambda maps: _mean(maps**2))])
    np.testing.assert_allclose(looks.moments[0, 0], expected, rtol=1e-3, atol=1e-4)


def _mean(maps: np.ndarray) -> np.ndarray:
    return np.asarray(maps.astype(np.float64).mean(axis=(1, 2)))


# --- views ---


def test_the_network_sees_as_lite0_does(pictures):
    """At lite0's size the embedding is lite0's."""
    small = [Lite0().prepare(picture) for picture in pictures]
    expected = Lite0().describe(small)
    np.testing.assert_allclose(embedding(look(small).embeddings[:, :1]), expected, atol=1e-6)


def test_a_mirrored_picture_changes_places_with_its_mirror(pictures, looks):
    mirrored = look([Lite0Deep().prepare(picture[:, ::-1]) for picture in pictures])
    np.testing.assert_allclose(mirrored.embeddings[:, ::-1], looks.embeddings, atol=1e-4)
    assert np.abs(looks.embeddings[:, 0] - looks.embeddings[:, 1]).max() > 0.1
    np.testing.assert_allclose(combine(mirrored), combine(looks), atol=1e-5)


# --- the vector ---


def test_vectors(prepared):
    vectors = Lite0Deep().describe(prepared)
    assert vectors.shape == (len(prepared), Lite0Deep.dimension)
    assert vectors.dtype == np.float32
    assert Lite0Deep().describe([]).shape == (0, Lite0Deep.dimension)


def test_vectors_do_not_depend_on_the_batch_or_the_threads(prepared):
    vectors = Lite0Deep().describe(prepared)
    alone = np.concatenate([Lite0Deep().describe([picture]) for picture in prepared])
    np.testing.assert_array_equal(vectors, alone)
    np.testing.assert_array_equal(Lite0Deep().describe(prepared[::-1])[::-1], alone)
    np.testing.assert_array_equal(Lite0Deep(threads=2).describe(prepared), alone)


def test_a_padded_batch_gives_the_same_vectors(prepared, monkeypatch):
    expected = Lite0Deep().describe(prepared)
    monkeypatch.setattr(onnx_session, "CPU_RUN", 2)
    np.testing.assert_array_equal(Lite0Deep().describe(prepared), expected)


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100.0))
def test_a_brighter_network_says_the_same(seed, factor):
    """Only proportions within a part count."""
    looks = random_looks(seed, 3)
    scaled = Looks(looks.embeddings * np.float32(factor), looks.moments * np.float32(factor))
    np.testing.assert_allclose(combine(scaled), combine(looks), rtol=1e-4, atol=1e-6)


def test_every_look_counts_alike():
    looks = random_looks(0)
    turned = Looks(looks.embeddings[:, ::-1], looks.moments[:, ::-1])
    np.testing.assert_allclose(combine(turned), combine(looks), atol=1e-6)
    for view in range(len(VIEWS)):
        changed = Looks(looks.embeddings.copy(), looks.moments.copy())
        changed.embeddings[:, view] = random_looks(1).embeddings[:, view]
        assert np.abs(combine(changed) - combine(looks)).max() > 1e-3


def test_signed_roots():
    moments = np.zeros((1, sum(WIDTHS)), np.float32)
    moments[0, :3] = [9.0, -16.0, 0.0]
    parts = moments_by_part(moments)
    assert [part.shape for part in parts] == [(1, width) for width in WIDTHS]
    np.testing.assert_allclose(parts[0][0, :3], [0.6, -0.8, 0.0])
    assert not any(part.any() for part in parts[1:])


def test_a_network_that_says_nothing_gives_no_nan():
    empty = Looks(np.zeros((1, len(VIEWS), 1280), np.float32), np.zeros((1, len(VIEWS), sum(WIDTHS)), np.float32))
    np.testing.assert_array_equal(combine(empty), np.zeros((1, Lite0Deep.dimension)))


def test_the_descriptor_travels_without_its_session(prepared):
    descriptor = Lite0Deep()
    descriptor.describe(prepared[:1])
    assert len(pickle.dumps(descriptor)) < 200
    assert pickle.loads(pickle.dumps(descriptor)) == descriptor


@pytest.mark.parametrize("name", ["REVISION", "SIDE", "EMBEDDING_WEIGHT", "MEAN"])
def test_the_version_follows_what_shapes_the_vectors(name, monkeypatch):
    version = Lite0Deep().version
    assert Lite0Deep(threads=4).version == version
    monkeypatch.setattr(lite0_deep, name, getattr(lite0_deep, name) + 1)
    assert Lite0Deep().version != version


def test_the_version_follows_the_spreads(monkeypatch):
    version = Lite0Deep().version
    monkeypatch.setattr(lite0_deep, "SPREADS", (*lite0_deep.SPREADS[:-1], 2.0))
    assert Lite0Deep().version != version
