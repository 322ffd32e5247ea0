"""Which clips k-means is fitted on, and how they are cut into blocks.

Conventions:
    The choice and the blocks are functions of the manifest, the feature's grid and the seed; how many workers there are
    plays no part. A block is a stretch of chosen clips in manifest order: one task's work, and one leaf of the sum.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from ray_musicssl.audio.frames import FrameGrid

LEAST_BLOCKS = 8  # enough to keep a workstation's cores even, few enough that a small fit is not all overhead
BLOCK_BYTES = 32 << 20  # of frames; more frames make more blocks, not larger ones


@dataclass(frozen=True, kw_only=True)
class ClipBlock:
    """Where a block's clips are: entry i is row `rows[i]` of row group `row_groups[i]` of part `parts[i]`."""

    parts: Int64[np.ndarray, " clips"]
    row_groups: Int64[np.ndarray, " clips"]
    rows: Int64[np.ndarray, " clips"]
    num_frames: int


@dataclass(frozen=True, kw_only=True)
class ClipSample:
    """The clips that a fit uses."""

    blocks: tuple[ClipBlock, ...]
    num_clips: int
    num_frames: int
    num_frames_in_all: int  # of all clips, used or not


def choose_clips(manifest: pa.Table, grid: FrameGrid, *, dim: int, max_frames: int, seed: int) -> ClipSample:
    """All clips, or about `max_frames` frames of them if there are more.

    Clips are taken in the order of a hash of their id and the seed until `max_frames` are reached, so the sample never
    holds fewer frames than that, and at most one clip's more.

    Args:
        manifest: the shards' clips, columns of `MANIFEST_SCHEMA`.
        grid: the feature's frames.
        dim: the feature's width; with the number of frames it decides how many blocks there are.
        max_frames: frames wanted.
        seed: seed of the choice.
    """
    frames = _frames_per_clip(manifest, grid)
    chosen = np.flatnonzero(frames > 0)
    if frames.sum() > max_frames:
        order = _hash_order(manifest["clip_id"].to_pylist(), seed)
        reached = int(np.searchsorted(np.cumsum(frames[order]), max_frames)) + 1
        chosen = np.intersect1d(chosen, order[:reached])
    blocks = _cut(manifest, chosen, frames[chosen], dim)
    return ClipSample(
        blocks=blocks,
        num_clips=len(chosen),
        num_frames=int(frames[chosen].sum()),
        num_frames_in_all=int(frames.sum()),
    )


def _frames_per_clip(manifest: pa.Table, grid: FrameGrid) -> Int64[np.ndarray, " clips"]:
    lengths, which = np.unique(manifest["num_samples"].to_numpy(), return_inverse=True)
    return np.array([grid.num_frames(int(length)) for length in lengths], np.int64)[which]


def _hash_order(clip_ids: list[str], seed: int) -> Int64[np.ndarray, " clips"]:
    digests = (hashlib.blake2b(f"{seed}/{clip_id}".encode(), digest_size=8).digest() for clip_id in clip_ids)
    hashes = np.frombuffer(b"".join(digests), ">u8")
    return np.argsort(hashes, kind="stable")


def _cut(
    manifest: pa.Table, chosen: Int64[np.ndarray, " clips"], frames: Int64[np.ndarray, " clips"], dim: int
) -> tuple[ClipBlock, ...]:
    """Blocks of about equal numbers of frames."""
    total = int(frames.sum())
    num_blocks = max(LEAST_BLOCKS, -(-total * dim * 4 // BLOCK_BYTES))
    before = np.cumsum(frames) - frames
    block_of = before * num_blocks // max(1, total)
    columns = {name: manifest[name].to_numpy()[chosen].astype(np.int64) for name in ("part", "row_group", "row")}
    return tuple(
        ClipBlock(
            parts=columns["part"][inside],
            row_groups=columns["row_group"][inside],
            rows=columns["row"][inside],
            num_frames=int(frames[inside].sum()),
        )
        for inside in (block_of == number for number in np.unique(block_of))
    )
