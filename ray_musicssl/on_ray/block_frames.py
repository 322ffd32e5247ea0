"""Blocks of frames inside Ray tasks: made from clips, kept on disk, read or made again slab by slab.

Conventions:
    A block's frames, and the slabs they come in, are the same bits whether they are read or made.
    A process holds one row group of clips and one slab of frames, however large the blocks are.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from ray_musicssl.audio.shard import Shards, pcm_views, read_row_group
from ray_musicssl.clustering.block_files import BlockFiles, regrouped
from ray_musicssl.clustering.sample import ClipBlock
from ray_musicssl.config.feature import FeatureConfig
from ray_musicssl.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How frames are made from clips."""

    shards: Shards
    feature: FeatureConfig

    def frames(self, clips: ClipBlock) -> Iterator[Float32[np.ndarray, "frames dim"]]:
        """The frames of a block, clip by clip.

        Raises:
            DataError: if a part is damaged, frames are NaN or infinite, or the clips give another number of frames than the
                manifest promises.
        """
        import torch  # noqa: PLC0415  (seconds and 300 MB that a task which only reads frames does not need)

        from ray_musicssl.features.base import clip_frames  # noqa: PLC0415
        from ray_musicssl.on_ray.targets import feature_here  # noqa: PLC0415

        torch.set_num_threads(1)
        feature = feature_here(self.feature)
        places = zip(clips.parts.tolist(), clips.row_groups.tolist(), clips.rows.tolist(), strict=True)
        done, waveforms, open_group = 0, [], (-1, -1)
        for part, row_group, row in places:
            if (part, row_group) != open_group:
                open_group = (part, row_group)
                waveforms = pcm_views(read_row_group(self.shards.part_path(part), row_group, columns=["pcm"])["pcm"])
            place = f"clip {row} of row group {row_group} in {self.shards.part_path(part)}"
            found = clip_frames(feature, waveforms[row], place=place)
            done += len(found)
            yield found
        if done != clips.num_frames:
            raise DataError(
                f"{self.shards.path}: clips that the manifest says give {clips.num_frames} frames give {done}; "
                f"prepare them again"
            )


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block: its frames lie in `files`, or are made from `clips` each time."""

    number: int
    num_frames: int
    files: BlockFiles
    recipe: Recipe
    clips: ClipBlock | None = None  # None: the frames are on disk

    def write(self) -> int:
        """Make the frames and keep them on disk; gives their number."""
        assert self.clips is not None, "only a block that knows its clips can be made"
        self.files.write(self.number, self.recipe.frames(self.clips))
        return self.num_frames

    def slabs(self, num_rows: int) -> Iterator[Float32[np.ndarray, "rows dim"]]:
        """The frames in slabs of `num_rows`, the last one shorter; each is valid until the next."""
        if self.clips is None:
            return self.files.slabs(self.number, self.num_frames, num_rows)
        return regrouped(self.recipe.frames(self.clips), min(num_rows, self.num_frames), self.files.dim)

    def rows(self, wanted: np.ndarray) -> Float32[np.ndarray, "rows dim"]:
        """Some frames, by their ascending numbers in the block."""
        if self.clips is None:
            return self.files.rows(self.number, self.num_frames, wanted)
        found, start = [np.empty((0, self.files.dim), np.float32)], 0
        for chunk in self.recipe.frames(self.clips):
            first, last = np.searchsorted(wanted, (start, start + len(chunk)))
            found.append(chunk[wanted[first:last] - start])
            start += len(chunk)
        return np.concatenate(found)
