"""The stage `kmeans`: shards -> frames of a target feature -> codebook.

Conventions:
    Blocks of frames are made by tasks and stay in the object store; the driver sees only sums. Every update is the same
    function of the same blocks, added along the same tree, so the codebook's bits do not depend on the number of workers,
    on which task ended first, or on how often the run was killed.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from jaxtyping import Float32, Int64

from ray_musicssl.audio.shard import Shards, pcm_views, read_row_group
from ray_musicssl.clustering.codebook import Codebook, FitRecord, load_codebook
from ray_musicssl.clustering.lloyd import LloydResult, LloydState, iterate
from ray_musicssl.clustering.sample import ClipBlock, ClipSample, choose_clips
from ray_musicssl.clustering.seeding import kmeans_plus_plus, seed_rows
from ray_musicssl.clustering.state import load_state, save_state
from ray_musicssl.clustering.sums import ClusterSums, Farthest, farthest, one_blas_thread, partial_sums
from ray_musicssl.clustering.tree import add_along_tree
from ray_musicssl.config.feature import FeatureConfig
from ray_musicssl.config.pretrain import KmeansConfig
from ray_musicssl.errors import DataError
from ray_musicssl.features.base import TargetFeature, clip_frames
from ray_musicssl.on_ray.session import TASK_RETRIES, result_of, session
from ray_musicssl.on_ray.targets import feature_here, gpus_per_task
from ray_musicssl.probing.hidden_targets import load_feature, resolve
from ray_musicssl.progress import progress
from ray_musicssl.run_dir import done_with, hash_of, locked, mark_done, remove_temporaries

logger = logging.getLogger(__name__)

STATE_NAME = "kmeans-state.safetensors"
ALGORITHM_VERSION = 1  # raise it when the same settings begin to give other centroids
_REMEDY = "choose another --out, or delete this one"


def fit_codebook(shards: Shards, out: Path, config: KmeansConfig, *, cpus_per_task: float = 1) -> Codebook:
    """Fit a codebook on the shards and save it in `out`; a killed fit goes on, a finished one is only read.

    Args:
        shards: the clips.
        out: where `centroids.safetensors` and `codebook.json` go.
        config: its `feature` and `clustering` sections count.
        cpus_per_task: logical CPUs a task asks for. It decides how many run at once and nothing else.

    Raises:
        ConfigError: if the feature is `hidden` and its encoder is not named or lacks the layer.
        DataError: if there are fewer frames than clusters, or the feature's encoder is missing or has other weights.
        ResumeRefusedError: if `out` holds a fit, finished or not, of other shards or settings.
    """
    config = resolve(config)
    fingerprint = _fingerprint(shards, config)
    if done_with(out, "kmeans", fingerprint=fingerprint, remedy=_REMEDY) is not None:
        # The same feature, but its encoder may have moved since: the config says where it is now.
        return replace(load_codebook(out), feature=config.feature)
    feature = load_feature(config.feature)
    sample = _checked_sample(shards, feature, config)
    with locked(out), session():
        remove_temporaries(out)
        saved = load_state(out / STATE_NAME, fingerprint)
        blocks = _Blocks.of(shards, config.feature, sample.blocks, cpus_per_task)
        state = saved or LloydState(centroids=_seeds(blocks, config))
        result = _iterate(blocks, state, config, out / STATE_NAME, fingerprint)
        codebook = _codebook(result, feature, config, shards, sample)
        codebook.save(out)
        facts = {"hash": codebook.hash, "parent": shards.content_hash, "num_clips": sample.num_clips}
        mark_done(out, "kmeans", fingerprint=fingerprint, facts=facts)
        (out / STATE_NAME).unlink(missing_ok=True)
    return codebook


class _Blocks:
    """Blocks of frames in the object store, and passes over them."""

    def __init__(self, refs: Sequence[ray.ObjectRef], sizes: Sequence[int], cpus_per_task: float) -> None:
        options: dict[str, Any] = {"num_cpus": cpus_per_task, "max_retries": TASK_RETRIES}
        self._refs = refs
        self._ends = np.cumsum(sizes)
        self._sums = ray.remote(_sums_of).options(**options)
        self._farthest = ray.remote(_farthest_of).options(**options)
        self._rows = ray.remote(_rows_of).options(**options)

    @classmethod
    def of(cls, shards: Shards, feature: FeatureConfig, clips: Sequence[ClipBlock], cpus_per_task: float) -> "_Blocks":
        """Have every block made; a block lost later is made again by Ray, with the same bits."""
        extract = ray.remote(_frames_of).options(
            num_cpus=cpus_per_task, num_gpus=gpus_per_task(feature), max_retries=TASK_RETRIES, num_returns=2
        )
        store = ray.put(replace(shards, path=shards.path.resolve()))
        refs, counts = zip(*(extract.remote(store, feature, block) for block in clips), strict=True)
        sizes = {count: block.num_frames for count, block in zip(counts, clips, strict=True)}
        with progress("kmeans features", sum(sizes.values()), "frames") as meter:
            pending = list(counts)
            while pending:
                ready, pending = ray.wait(pending)
                result_of(ready)  # raises here what the task raised
                meter.advance(sizes[ready[0]])
        return cls(refs, list(sizes.values()), cpus_per_task)

    @property
    def num_frames(self) -> int:
        """Frames in all blocks."""
        return int(self._ends[-1])

    def rows(self, wanted: Int64[np.ndarray, " rows"]) -> Float32[np.ndarray, "rows dim"]:
        """Some frames, by their ascending numbers in the sequence of all blocks."""
        starts = np.concatenate([[0], self._ends[:-1]])
        cuts = np.searchsorted(wanted, self._ends)
        shares = np.split(wanted, cuts[:-1])
        asked = [self._rows.remote(r, s - start) for r, s, start in zip(self._refs, shares, starts, strict=True)]
        return np.concatenate(result_of(asked))

    def sums(self, centroids: Float32[np.ndarray, "clusters dim"]) -> ClusterSums:
        """What all blocks add up to, along the tree over block numbers."""
        shared = ray.put(centroids)
        parts: list[ClusterSums] = result_of([self._sums.remote(ref, shared) for ref in self._refs])
        return add_along_tree(parts, ClusterSums.__add__)

    def farthest(self, centroids: Float32[np.ndarray, "clusters dim"], count: int) -> Farthest:
        """The `count` frames of all blocks that are farthest from their centroids."""
        shared = ray.put(centroids)
        asked = [self._farthest.remote(ref, shared, count, number) for number, ref in enumerate(self._refs)]
        parts: list[Farthest] = result_of(asked)
        return add_along_tree(parts, lambda one, other: one.merged(other, count))


def _frames_of(
    shards: Shards, config: FeatureConfig, block: ClipBlock
) -> tuple[Float32[np.ndarray, "frames dim"], int]:
    torch.set_num_threads(1)
    feature = feature_here(config)
    frames = np.empty((block.num_frames, feature.dim), np.float32)
    stored = list(zip(block.parts.tolist(), block.row_groups.tolist(), block.rows.tolist(), strict=True))
    done, clips, open_group = 0, [], (-1, -1)
    for part, row_group, row in stored:
        if (part, row_group) != open_group:
            open_group = (part, row_group)
            clips = pcm_views(read_row_group(shards.part_path(part), row_group, columns=["pcm"])["pcm"])
        found = clip_frames(feature, clips[row])
        frames[done : done + len(found)] = found
        done += len(found)
    if done != block.num_frames:
        raise DataError(
            f"{shards.path}: clips that the manifest says give {block.num_frames} frames give {done}; prepare them again"
        )
    return frames, done


def _sums_of(frames: Float32[np.ndarray, "frames dim"], centroids: Float32[np.ndarray, "clusters dim"]) -> ClusterSums:
    with one_blas_thread():
        return partial_sums(frames, centroids)


def _farthest_of(
    frames: Float32[np.ndarray, "frames dim"],
    centroids: Float32[np.ndarray, "clusters dim"],
    count: int,
    number: int,
) -> Farthest:
    with one_blas_thread():
        return farthest(frames, centroids, count, block=number)


def _rows_of(
    frames: Float32[np.ndarray, "frames dim"], rows: Int64[np.ndarray, " rows"]
) -> Float32[np.ndarray, "rows dim"]:
    return frames[rows]


def _fingerprint(shards: Shards, config: KmeansConfig) -> str:
    return hash_of(
        {
            "shards": shards.content_hash,
            "feature": config.feature.identity,
            "clustering": config.clustering.model_dump(mode="json"),
            "algorithm": ALGORITHM_VERSION,
        }
    )


def _checked_sample(shards: Shards, feature: TargetFeature, config: KmeansConfig) -> ClipSample:
    settings = config.clustering
    sample = choose_clips(
        shards.manifest(), feature.grid, dim=feature.dim, max_frames=settings.max_frames, seed=settings.seed
    )
    if sample.num_frames < settings.num_clusters:
        raise DataError(
            f"{shards.path} gives {sample.num_frames} {feature.name} frames ({shards.num_clips} clips, "
            f"{shards.seconds:.1f} s), fewer than clustering.num_clusters={settings.num_clusters}; "
            f"prepare more audio or lower clustering.num_clusters"
        )
    if sample.num_frames < sample.num_frames_in_all:
        logger.info("k-means uses %d of %d frames", sample.num_frames, sample.num_frames_in_all)
    return sample


def _seeds(blocks: _Blocks, config: KmeansConfig) -> Float32[np.ndarray, "clusters dim"]:
    settings = config.clustering
    rows = seed_rows(blocks.num_frames, settings.num_clusters, settings.seed)
    with progress("kmeans seeds", settings.num_clusters, "seeds") as meter:
        frames = blocks.rows(rows)
        meter.advance()  # the first one is drawn, not searched for
        return kmeans_plus_plus(frames, settings.num_clusters, settings.seed, on_seed=meter.advance)


def _iterate(
    blocks: _Blocks, state: LloydState, config: KmeansConfig, state_path: Path, fingerprint: str
) -> LloydResult:
    settings = config.clustering
    with progress("kmeans", settings.num_iterations, "updates") as meter:
        meter.start_from(state.num_updates)

        def keep(new: LloydState) -> None:
            save_state(state_path, new, fingerprint)
            meter.set_done(new.num_updates, f"inertia a frame {new.history[-1] / blocks.num_frames:.4g}")

        return iterate(
            blocks,
            state,
            num_iterations=settings.num_iterations,
            tolerance=settings.tolerance,
            on_update=keep,
        )


def _codebook(
    result: LloydResult, feature: TargetFeature, config: KmeansConfig, shards: Shards, sample: ClipSample
) -> Codebook:
    num_dead = int((result.counts == 0).sum())
    if num_dead:
        logger.warning(
            "%d of %d clusters have no frame: the frames have too few distinct values; lower clustering.num_clusters",
            num_dead,
            len(result.counts),
        )
    record = FitRecord(
        parent=shards.content_hash,
        clustering=config.clustering,
        num_frames=sample.num_frames,
        inertia=result.history,
        usage=tuple(result.counts.tolist()),
    )
    return Codebook(result.centroids, config.feature, feature.grid.frame_rate, record)
