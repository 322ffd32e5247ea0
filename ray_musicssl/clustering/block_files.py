"""Frames of blocks on disk, a file a block, written and read a slab at a time.

Conventions:
    `DIR/block-00000000.f32` holds a block's frames, little-endian float32, row by row, and nothing else. A file is there
    under its name only when it is whole; how many rows it must have is known from the manifest, and its size is checked.
    Slabs are read into one buffer that is used again: what a process holds does not grow with the block.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from ray_musicssl.errors import DataError
from ray_musicssl.run_dir import replacing

FRAME_TYPE = np.dtype("<f4")
SLAB_BYTES = 16 << 20  # of frames
_SLAB_MULTIPLE = 512  # rows; a multiple of the kernels' chunks


def slab_rows(num_clusters: int, dim: int) -> int:
    """Rows of a slab: enough of them that a slab's sums are small beside its products."""
    rows = max(SLAB_BYTES // (dim * FRAME_TYPE.itemsize), num_clusters)
    return -(-rows // _SLAB_MULTIPLE) * _SLAB_MULTIPLE


def regrouped(
    chunks: Iterable[Float32[np.ndarray, "_ dim"]], num_rows: int, dim: int
) -> Iterator[Float32[np.ndarray, "rows dim"]]:
    """The rows of chunks of any length in slabs of `num_rows`, the last one shorter; each is valid until the next."""
    buffer, filled = np.empty((num_rows, dim), np.float32), 0
    for chunk in chunks:
        done = 0
        while done < len(chunk):
            fits = min(num_rows - filled, len(chunk) - done)
            buffer[filled : filled + fits] = chunk[done : done + fits]
            filled, done = filled + fits, done + fits
            if filled == num_rows:
                yield buffer
                filled = 0
    if filled:
        yield buffer[:filled]


@dataclass(frozen=True, kw_only=True)
class BlockFiles:
    """The files of one fit's blocks."""

    directory: Path
    dim: int

    def path(self, number: int) -> Path:
        """The file of a block."""
        return self.directory / f"block-{number:08d}.f32"

    def size_bytes(self, num_frames: int) -> int:
        """What so many frames take."""
        return num_frames * self.dim * FRAME_TYPE.itemsize

    def has(self, number: int, num_frames: int) -> bool:
        """Whether a block's file is there with all its frames."""
        path = self.path(number)
        return path.exists() and path.stat().st_size == self.size_bytes(num_frames)

    def write(self, number: int, chunks: Iterable[Float32[np.ndarray, "_ dim"]]) -> None:
        """Write a block's frames as they come."""
        with replacing(self.path(number)) as temporary, temporary.open("wb") as file:
            for chunk in chunks:
                file.write(np.ascontiguousarray(chunk, FRAME_TYPE).data)

    def slabs(self, number: int, num_frames: int, num_rows: int) -> Iterator[Float32[np.ndarray, "rows dim"]]:
        """A block's frames in slabs of `num_rows`, the last one shorter; each is valid until the next.

        Raises:
            DataError: if the file is missing or has another size.
        """
        self._check(number, num_frames)
        buffer = np.empty((min(num_rows, num_frames), self.dim), FRAME_TYPE)
        with self.path(number).open("rb", buffering=0) as file:
            for start in range(0, num_frames, num_rows):
                slab = buffer[: min(num_rows, num_frames - start)]
                _fill(file, slab, self.path(number))
                yield slab

    def rows(self, number: int, num_frames: int, wanted: Int64[np.ndarray, " rows"]) -> Float32[np.ndarray, "rows dim"]:
        """Some frames of a block, by their numbers in it.

        Raises:
            DataError: if the file is missing or has another size.
        """
        self._check(number, num_frames)
        return np.memmap(self.path(number), FRAME_TYPE, "r", shape=(num_frames, self.dim))[wanted]

    def _check(self, number: int, num_frames: int) -> None:
        if not self.has(number, num_frames):
            raise DataError(
                f"{self.path(number)} does not hold the {num_frames} frames of {self.dim} values that it was written with; "
                f"delete {self.directory} and run the same command again"
            )


def _fill(file: RawIOBase, slab: Float32[np.ndarray, "rows dim"], path: Path) -> None:
    """Read until the slab is full: a raw read may stop short."""
    view, done = slab.data.cast("B"), 0
    while done < len(view):
        count = file.readinto(view[done:])
        if not count:
            raise DataError(f"{path} ended while it was read; run the same command again")
        done += count
