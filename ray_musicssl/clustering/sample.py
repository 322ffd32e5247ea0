"""Which clips k-means is fitted on, and how they are cut into blocks.

Conventions:
    The choice and the blocks are functions of the manifest, the feature's grid, the number of clusters and the seed; how
    many workers there are plays no part. A block is a stretch of chosen clips in manifest order: one leaf of the sum.
    Clips are columns of numbers throughout, 12 bytes a clip; a block's columns are views of them.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Int, Int64, UInt64

from ray_musicssl.audio.frames import FrameGrid

LEAST_BLOCKS = 8  # enough to keep a workstation's cores even, few enough that a small fit is not all overhead
BLOCK_BYTES = 32 << 20  # of frames; more frames make more blocks, not larger ones
FRAMES_PER_CLUSTER = 16  # in a block beyond the first few: its sums are then smaller than its frames
IDS_AT_ONCE = 1 << 16  # clip ids that are Python strings at the same time

MANIFEST_COLUMNS = ("clip_id", "num_samples", "part", "row_group", "row")


@dataclass(frozen=True, kw_only=True)
class ClipBlock:
    """Where a block's clips are: entry i is row `rows[i]` of row group `row_groups[i]` of part `parts[i]`."""

    parts: Int[np.ndarray, " clips"]
    row_groups: Int[np.ndarray, " clips"]
    rows: Int[np.ndarray, " clips"]
    num_frames: int


@dataclass(frozen=True, kw_only=True)
class ClipSample:
    """The clips that a fit uses."""

    blocks: tuple[ClipBlock, ...]
    num_clips: int
    num_frames: int
    num_frames_in_all: int  # of all clips, used or not


def choose_clips(
    manifest: pa.Table, grid: FrameGrid, *, dim: int, max_frames: int, seed: int, num_clusters: int = 1
) -> ClipSample:
    """All clips, or about `max_frames` frames of them if there are more.

    Clips are taken in the order of a hash of their id and the seed until `max_frames` are reached, so the sample never
    holds fewer frames than that, and at most one clip's more.

    Args:
        manifest: the shards' clips; of `MANIFEST_SCHEMA`, the columns `MANIFEST_COLUMNS`.
        grid: the feature's frames.
        dim: the feature's width; with the number of frames and of clusters it decides how many blocks there are.
        max_frames: frames wanted.
        seed: seed of the choice.
        num_clusters: size of the codebook.
    """
    frames = _frames_per_clip(manifest, grid)
    is_chosen = frames > 0
    if frames.sum() > max_frames:
        order = np.argsort(_hashes(manifest["clip_id"], seed), kind="stable")
        reached = int(np.searchsorted(np.cumsum(frames[order]), max_frames)) + 1
        is_chosen[order[reached:]] = False
    chosen = np.flatnonzero(is_chosen)
    blocks = _cut(manifest, chosen, frames[chosen], _num_blocks(int(frames[chosen].sum()), dim, num_clusters))
    return ClipSample(
        blocks=blocks,
        num_clips=len(chosen),
        num_frames=int(frames[chosen].sum()),
        num_frames_in_all=int(frames.sum()),
    )


def _frames_per_clip(manifest: pa.Table, grid: FrameGrid) -> Int64[np.ndarray, " clips"]:
    lengths, which = np.unique(manifest["num_samples"].to_numpy(), return_inverse=True)
    return np.array([grid.num_frames(int(length)) for length in lengths], np.int64)[which]


def _hashes(clip_ids: pa.ChunkedArray, seed: int) -> UInt64[np.ndarray, " clips"]:
    """A number for each clip that its id and the seed decide."""

    def digests() -> Iterator[bytes]:
        for start in range(0, len(clip_ids), IDS_AT_ONCE):
            for clip_id in clip_ids.slice(start, IDS_AT_ONCE).to_pylist():
                yield hashlib.blake2b(f"{seed}/{clip_id}".encode(), digest_size=8).digest()

    return np.frombuffer(b"".join(digests()), ">u8")


def _num_blocks(num_frames: int, dim: int, num_clusters: int) -> int:
    by_bytes = -(-num_frames * dim * 4 // BLOCK_BYTES)
    return max(LEAST_BLOCKS, min(by_bytes, num_frames // (FRAMES_PER_CLUSTER * num_clusters)))


def _cut(
    manifest: pa.Table, chosen: Int64[np.ndarray, " clips"], frames: Int64[np.ndarray, " clips"], num_blocks: int
) -> tuple[ClipBlock, ...]:
    """Blocks of about equal numbers of frames."""
    before = np.cumsum(frames) - frames
    block_of = before * num_blocks // max(1, int(frames.sum()))
    starts = np.flatnonzero(np.diff(block_of, prepend=-1))
    stops = np.append(starts, len(chosen))[1:]
    parts, row_groups, rows = (
        manifest[name].to_numpy()[chosen].astype(np.int32) for name in ("part", "row_group", "row")
    )
    return tuple(
        ClipBlock(
            parts=parts[start:stop],
            row_groups=row_groups[start:stop],
            rows=rows[start:stop],
            num_frames=int(frames[start:stop].sum()),
        )
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
    )
