"""The passes of k-means over one block of frames on a device of torch, for blocks worth moving to a GPU.

Conventions:
    Scores are float32, never TF32: labels are those of the CPU but for frames whose two nearest centroids are as good as
    equally far. Sums are float64, each cluster's frames added in their order: no atomics, so that a device gives the same
    bits every time.
    "cpu:torch" runs the same on the CPU, which is how it is tested without a GPU.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int32, Int64

from ray_musicssl.clustering.prepared import prepared
from ray_musicssl.errors import ConfigError
from ray_musicssl.float32 import without_tf32

CHUNK_SCORES = 1 << 28  # scores (1 GB) that are on the device at once
CHUNK_VALUES = 1 << 26  # float64 values (0.5 GB) that are sorted and summed at once
TORCH_ON_CPU = "cpu:torch"


@dataclass(frozen=True, kw_only=True)
class DeviceSums:
    """What some frames add up to."""

    sums: Float64[np.ndarray, "clusters dim"]
    counts: Int64[np.ndarray, " clusters"]
    squares: float  # sum of the frames' squared lengths


def assign(
    frames: Float32[np.ndarray, "frames dim"], centroids: Float32[np.ndarray, "clusters dim"], device: str
) -> Int32[np.ndarray, " frames"]:
    """The index of each frame's nearest centroid; of equally near ones the lowest.

    Raises:
        ConfigError: if there is no such device.
    """
    scorer = _scorer(centroids, device)
    found = [scorer.labels(rows).to(torch.int32).cpu() for rows in scorer.moved(frames)]
    return torch.cat(found).numpy() if found else np.empty(0, np.int32)


def sums_of_slabs(
    slabs: Iterable[Float32[np.ndarray, "frames dim"]], centroids: Float32[np.ndarray, "clusters dim"], device: str
) -> DeviceSums:
    """Each cluster's frames, counted and summed over slabs, and brought back from the device once.

    Raises:
        ConfigError: if there is no such device.
    """
    scorer = _scorer(centroids, device)
    where = scorer.device
    num_clusters = len(centroids)
    sums = torch.zeros(centroids.shape, dtype=torch.float64, device=where)
    counts = torch.zeros(num_clusters, dtype=torch.int64, device=where)
    squares = torch.zeros((), dtype=torch.float64, device=where)
    for rows in (rows for slab in slabs for rows in scorer.moved(slab)):
        labels = scorer.labels(rows)
        # A stable sort keeps the frames of a cluster in their order; each segment is then added from its first to its last.
        order = labels.argsort(stable=True)
        lengths = torch.bincount(labels, minlength=num_clusters)
        wide = rows[order].double()
        sums += torch.segment_reduce(wide, "sum", lengths=lengths, unsafe=True)
        counts += lengths
        squares += wide.square().sum()
    return DeviceSums(sums=sums.cpu().numpy(), counts=counts.cpu().numpy(), squares=float(squares))


def device_of(name: str) -> torch.device:
    """The device of that name.

    Raises:
        ConfigError: if torch knows none of that name, or it is not here.
    """
    if name == TORCH_ON_CPU:
        return torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).splitlines()[0]
        raise ConfigError(
            f"device is {name!r}, which cannot be used here ({first_line}); choose cpu, or cuda where there is a GPU"
        ) from error
    return device


def _scorer(centroids: Float32[np.ndarray, "clusters dim"], device: str) -> "_Scorer":
    where = device_of(device)
    return prepared(centroids, device, lambda found: _Scorer(found, where))


class _Scorer:
    def __init__(self, centroids: Float32[np.ndarray, "clusters dim"], device: torch.device) -> None:
        # Shifted and squared as on the CPU (`nearest.py`), so that rounding errors are as small.
        shift = centroids.mean(axis=0, dtype=np.float64).astype(np.float32)
        shifted = centroids - shift
        squares = np.einsum("kd,kd->k", shifted, shifted, dtype=np.float64).astype(np.float32)
        self._shift, self._squares = torch.from_numpy(shift).to(device), torch.from_numpy(squares).to(device)
        self._centroids = torch.from_numpy(np.ascontiguousarray(shifted)).to(device)
        self.device = device
        num_clusters, dim = centroids.shape
        self._chunk_rows = max(1, min(CHUNK_SCORES // num_clusters, CHUNK_VALUES // dim))

    def moved(self, frames: Float32[np.ndarray, "frames dim"]) -> Iterator[Float32[torch.Tensor, "frames dim"]]:
        """The frames on the device, so many at once as their scores find room for."""
        for first in range(0, len(frames), self._chunk_rows):
            # Copied first: frames from an object store are read-only, which torch does not know.
            yield torch.tensor(frames[first : first + self._chunk_rows], device=self.device)

    def labels(self, rows: Float32[torch.Tensor, "frames dim"]) -> Int64[torch.Tensor, " frames"]:
        """The index of each row's lowest score."""
        with without_tf32():
            scores = torch.addmm(self._squares, rows - self._shift, self._centroids.T, alpha=-2)
        return scores.argmin(dim=1)
