"""Training: linear map, coarse quantizer, product quantizer, in one plain FAISS index without rows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import faiss
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from im2gps_spark.index.clustering import SEED, cluster
from im2gps_spark.index.components import Linear, components
from im2gps_spark.index.opq import opq_rotation
from im2gps_spark.index.plan import Plan

MOST_FOR_CODES = 256 * 256
"""Vectors that code words are trained on, 256 a word; more change little and FAISS would draw from them."""


@dataclass(frozen=True)
class Errors:
    """Quantization errors: mean squared distances, in the index's space, of some vectors.

    Attributes:
        n: vectors.
        coarse: to the centroid of the list.
        code: to what list and code together say.
    """

    n: int
    coarse: float
    code: float


@dataclass(frozen=True)
class Trained:
    """A trained index without rows: rotation, unit length, IVF-PQ.

    Attributes:
        index: ``faiss.IndexPreTransform``; not to be changed.
    """

    index: faiss.IndexPreTransform

    @property
    def ivf(self) -> faiss.IndexIVFPQ:
        """The IVF-PQ behind the rotation."""
        return faiss.downcast_index(self.index.index)

    @property
    def centroids(self) -> NDArray[np.float32]:
        """(lists, dimension) of the coarse quantizer."""
        quantizer = faiss.downcast_index(self.ivf.quantizer)
        return np.asarray(quantizer.reconstruct_n(0, self.ivf.nlist))

    def rotate(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Descriptors (n, input dimension) to unit vectors (n, dimension) of the index's space."""
        return self._linear.apply(vectors)

    @cached_property
    def _linear(self) -> Linear:
        return Linear.of(faiss.downcast_VectorTransform(self.index.chain.at(0)))

    def assign(self, rotated: NDArray[np.float32], lists: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Squared distances and numbers of the nearest lists, each (n, lists), nearest first."""
        if len(rotated) == 0:
            return np.zeros((0, lists), np.float32), np.zeros((0, lists), np.int64)
        near, which = self.ivf.quantizer.search(np.ascontiguousarray(rotated), min(lists, self.ivf.nlist))
        return near, which

    def encode(self, rotated: NDArray[np.float32], lists: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Codes (n, bytes) of rotated vectors in their lists."""
        vectors = np.ascontiguousarray(rotated, np.float32)
        lists = np.ascontiguousarray(lists, np.int64)
        codes = np.zeros((len(vectors), self.ivf.code_size), np.uint8)
        if len(vectors):
            self.ivf.encode_vectors(len(vectors), faiss.swig_ptr(vectors), faiss.swig_ptr(lists), faiss.swig_ptr(codes))
        return codes

    def errors(self, rotated: NDArray[np.float32]) -> Errors:
        """What is lost of rotated vectors (n, dimension) by their list, and by their list and code: means."""
        if not len(rotated):
            return Errors(0, 0.0, 0.0)
        near, lists = self.assign(rotated, 1)
        words = self.ivf.pq.decode(self.encode(rotated, lists[:, 0]))
        lost = rotated - self.centroids[lists[:, 0]] - words
        return Errors(len(rotated), float(near.mean(dtype=np.float64)), float((lost**2).sum(axis=1).mean()))

    def to_bytes(self) -> bytes:
        """The index as FAISS writes it to a file."""
        return bytes(faiss.serialize_index(self.index).tobytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> Trained:
        """The index in the bytes of a file."""
        # The table that FAISS would make takes a quarter of a gigabyte at 4,096 lists, and nothing here looks at it.
        return cls(faiss.deserialize_index(np.frombuffer(data, np.uint8), faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE))


def sample_hash(ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> str:
    """What names a training sample: its photos and their vectors, sorted by id."""
    digest = hashlib.sha256(np.ascontiguousarray(ids, "<i8").data)
    digest.update(np.ascontiguousarray(vectors, "<f4").data)
    return digest.hexdigest()


def train(vectors: NDArray[np.float32], plan: Plan) -> Trained:
    """An index without rows, trained on a sample.

    The same sample in the same order gives the same bytes.

    Args:
        vectors: (plan.sample, plan.input_dimension) float32, finite.
        plan: the parameters.

    Raises:
        ValueError: the sample is not the plan's, or holds numbers that are not finite.
    """
    _check(vectors, (plan.sample, plan.input_dimension))
    linear = find_components(vectors, plan.dimension)
    return train_quantizers(linear.apply(vectors), linear, plan)[0]


def find_components(vectors: NDArray[np.float32], dimension: int) -> Linear:
    """The linear map that a sample (n, input dimension) asks for; of a large sample a part will do.

    Raises:
        ValueError: numbers that are not finite.
    """
    _check(vectors, vectors.shape)
    with _one_thread():
        return components(vectors, dimension)


def train_quantizers(rotated: NDArray[np.float32], linear: Linear, plan: Plan) -> tuple[Trained, Errors]:
    """An index without rows, and what its quantizers lose of the sample.

    Args:
        rotated: (plan.sample, plan.dimension) float32: the sample, after the linear map.
        linear: that map.
        plan: the parameters.

    Raises:
        ValueError: the sample is not the plan's, or holds numbers that are not finite.
    """
    _check(rotated, (plan.sample, plan.dimension))
    with _one_thread():
        centroids = cluster(rotated, plan.lists)
        shown = rotated[:: -(-len(rotated) // MOST_FOR_CODES)]
        if plan.opq:
            lost = shown - centroids[faiss.knn(shown, centroids, 1)[1][:, 0]]
            rotation = opq_rotation(lost, plan.subquantizers, plan.bits)
            # Turned alike, vectors and centroids are as far apart as before: the lists stay what they are.
            linear = linear.then(rotation)
            shown, centroids = ((x @ rotation.T).astype(np.float32) for x in (shown, centroids))
        trained = Trained(_index(shown, centroids, linear, plan))
        return trained, trained.errors(shown)


def _check(vectors: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    if vectors.shape != shape:
        raise ValueError(f"the plan is for {shape} descriptors, not {vectors.shape}")
    # A sum is finite where all are, and needs no copy of the sample.
    if not np.isfinite(vectors.sum(dtype=np.float64)):
        raise ValueError("the training sample holds numbers that are not finite")


def _one_thread() -> threadpool_limits:
    """k-means and linear algebra sum in the order of their threads, and the same sample must give the same bytes."""
    return threadpool_limits(limits=1)


def _index(
    shown: NDArray[np.float32], centroids: NDArray[np.float32], linear: Linear, plan: Plan
) -> faiss.IndexPreTransform:
    quantizer = faiss.IndexFlatL2(plan.dimension)
    quantizer.add(centroids)
    ivf = faiss.IndexIVFPQ(quantizer, plan.dimension, plan.lists, plan.subquantizers, plan.bits)
    quantizer.this.disown()
    ivf.own_fields = True
    ivf.use_precomputed_table = -1
    ivf.pq.cp.min_points_per_centroid = 1
    ivf.pq.cp.seed = SEED
    # A corpus of a handful of photos has fewer of them than the smallest code has words: it is shown repeatedly.
    words = 2**plan.bits
    ivf.train(shown if len(shown) >= words else np.resize(shown, (words, plan.dimension)))
    index = faiss.IndexPreTransform(ivf)
    unit, rotation = faiss.NormalizationTransform(plan.dimension, 2.0), linear.transform()
    index.prepend_transform(unit)
    index.prepend_transform(rotation)
    for owned in (ivf, unit, rotation):
        owned.this.disown()
    index.own_fields = True
    return index
