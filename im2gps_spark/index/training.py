"""Training: principal components, coarse quantizer, product quantizer, in one plain FAISS index without rows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import faiss
import numpy as np
from numpy.typing import NDArray

from im2gps_spark.index.plan import Plan

# Components are divided by their variance to this power. 0 would leave similarity to the few strongest, 0.5 give
# noise a full vote; between is best on held-out owners (docs/posterior.md), and less is better in a small corpus.
_WHITENING = 0.125
_SEED = 2008
_ITERATIONS = 20


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
        # FAISS sums in float32, in an order that changes with n: a vector's last bits, and an index's bytes, would
        # follow from the batches that photos come in. Sums in float64 round to one float32 in any order.
        matrix, offset = self._linear
        exact = np.asarray(vectors, np.float64) @ matrix.T + offset
        length = np.linalg.norm(exact, axis=1, keepdims=True)
        return np.asarray(exact / np.where(length > 0, length, 1.0), np.float32)

    @cached_property
    def _linear(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Matrix (dimension, input dimension) and offset of the rotation."""
        rotation = faiss.downcast_VectorTransform(self.index.chain.at(0))
        matrix = faiss.vector_to_array(rotation.A).reshape(rotation.d_out, rotation.d_in)
        return matrix.astype(np.float64), faiss.vector_to_array(rotation.b).astype(np.float64)

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
        return cls(faiss.deserialize_index(np.frombuffer(data, np.uint8)))


def sample_hash(ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> str:
    """What names a training sample: its photos and their descriptors, sorted by id."""
    digest = hashlib.sha256(np.ascontiguousarray(ids, "<i8").tobytes())
    digest.update(np.ascontiguousarray(vectors, "<f4").tobytes())
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
    if vectors.shape != (plan.sample, plan.input_dimension):
        raise ValueError(f"the plan is for {(plan.sample, plan.input_dimension)} descriptors, not {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ValueError("the training sample holds numbers that are not finite")
    sample = np.ascontiguousarray(vectors, np.float32)
    # One thread: k-means sums in the order of its threads, and the same sample must give the same bytes.
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        return _train(sample, plan)
    finally:
        faiss.omp_set_num_threads(threads)


def _train(sample: NDArray[np.float32], plan: Plan) -> Trained:
    rotation = _rotation(sample, plan.dimension)
    unit = faiss.NormalizationTransform(plan.dimension, 2.0)
    rotated = unit.apply(rotation.apply(sample))

    kmeans = faiss.Kmeans(
        plan.dimension, plan.lists, niter=_ITERATIONS, seed=_SEED,
        min_points_per_centroid=1, max_points_per_centroid=max(256, plan.sample // plan.lists + 1),
    )  # fmt: skip
    kmeans.train(rotated)
    quantizer = faiss.IndexFlatL2(plan.dimension)
    quantizer.add(kmeans.centroids)

    ivf = faiss.IndexIVFPQ(quantizer, plan.dimension, plan.lists, plan.subquantizers, plan.bits)
    quantizer.this.disown()
    ivf.own_fields = True
    ivf.use_precomputed_table = -1
    ivf.pq.cp.min_points_per_centroid = 1
    ivf.pq.cp.seed = _SEED
    # A corpus of a handful of photos has fewer of them than the smallest code has words: it is shown repeatedly.
    ivf.train(np.resize(rotated, (max(plan.sample, 2**plan.bits), plan.dimension)))
    index = faiss.IndexPreTransform(ivf)
    index.prepend_transform(unit)
    index.prepend_transform(rotation)
    for owned in (ivf, unit, rotation):
        owned.this.disown()
    index.own_fields = True
    return Trained(index)


def _rotation(sample: NDArray[np.float32], dimension: int) -> faiss.LinearTransform:
    """Centred principal components, scaled by variance^-whitening, in float64; as FAISS' linear transform."""
    data = sample.astype(np.float64)
    mean = data.mean(axis=0)
    variance, axes = np.linalg.eigh(np.cov(data, rowvar=False, bias=True).reshape(data.shape[1], -1))
    rank = np.argsort(-variance, kind="stable")[:dimension]
    kept = np.maximum(variance[rank], max(float(variance.max()), 1e-30) * 1e-9)
    # An axis' sign is the solver's whim: its largest part is made positive.
    axes = axes[:, rank] * np.sign(axes[np.argmax(np.abs(axes[:, rank]), axis=0), rank])
    matrix = (axes * kept**-_WHITENING).T
    transform = faiss.LinearTransform(sample.shape[1], dimension, True)
    faiss.copy_array_to_vector(np.ascontiguousarray(matrix, np.float32).ravel(), transform.A)
    faiss.copy_array_to_vector(np.ascontiguousarray(-(matrix @ mean), np.float32), transform.b)
    transform.is_trained = True
    return transform
