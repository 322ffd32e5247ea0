"""The stage `label`: shards + codebook -> the cluster of every frame of every clip.

Conventions:
    `DIR/labels/<codebook hash>/part-00000.parquet` has the rows, order and row groups of the audio part of that name, and
    `part-00000.json` beside it says what it is; that JSON is written last, so a part with one is complete.
    A frame's label depends on its clip and the codebook alone, never on which clips it was computed with.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Int32

from ray_musicssl.audio.shard import LABEL_SCHEMA, Shards, part_name, pcm_views
from ray_musicssl.audio.writer import sidecar_path
from ray_musicssl.clustering.codebook import Codebook, entropy_nats, feature_values, load_codebook
from ray_musicssl.clustering.sums import assign, one_blas_thread
from ray_musicssl.config.feature import FeatureConfig, HiddenConfig
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.features.base import TargetFeature, clip_frames
from ray_musicssl.on_ray.session import run_tasks, session
from ray_musicssl.on_ray.targets import feature_here, gpus_per_task
from ray_musicssl.probing.hidden_targets import load_feature
from ray_musicssl.progress import progress
from ray_musicssl.run_dir import (
    HASH_LENGTH,
    done_with,
    hash_of,
    locked,
    mark_done,
    read_json,
    remove_temporaries,
    replacing,
    sha256_file,
    write_json,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _PartJob:
    """One part to label, with the codebook that lies in `directory`."""

    shards: Shards
    directory: Path
    part: int
    fingerprint: str

    @property
    def labels_path(self) -> Path:
        return self.directory / part_name(self.part)

    @property
    def facts_path(self) -> Path:
        return self.labels_path.with_suffix(".json")


def label(shards: Shards, codebook: Codebook, *, encoder: Path | None = None) -> Path:
    """Label every clip, and give the directory of the labels; parts that are there already are kept.

    Args:
        shards: the clips.
        codebook: what their frames are compared with.
        encoder: where the encoder of a codebook of hidden features lies, if not where `kmeans` found it.

    Raises:
        ConfigError: if `encoder` is given for a codebook that needs none.
        DataError: if the codebook does not fit its own feature, the feature's encoder is missing or has other weights, or
            a part of the shards is damaged.
        ResumeRefusedError: if the directory holds labels of other shards.
    """
    if encoder is not None:
        codebook = _with_encoder(codebook, encoder)
    directory = shards.labels_dir / codebook.hash
    fingerprint = hash_of({"shards": shards.content_hash, "codebook": codebook.hash})
    remedy = f"the shards have changed since: delete {directory} and label again"
    if done_with(directory, "label", fingerprint=fingerprint, remedy=remedy) is not None:
        return directory
    _check_fits_its_feature(codebook)
    here = replace(shards, path=shards.path.resolve())
    with locked(directory):
        remove_temporaries(directory)
        codebook.save(directory)
        jobs = [
            _PartJob(shards=here, directory=directory.resolve(), part=part, fingerprint=fingerprint)
            for part in shards.parts()
        ]
        _label_parts(jobs, shards.num_clips, codebook.feature)
        facts = _summary(shards, codebook, [read_json(job.facts_path) for job in jobs])
        remove_temporaries(directory)
        mark_done(directory, "label", fingerprint=fingerprint, facts=facts)
    return directory


def _with_encoder(codebook: Codebook, encoder: Path) -> Codebook:
    if not isinstance(codebook.feature, HiddenConfig):
        raise ConfigError(
            f"--encoder {encoder} has no use: codebook {codebook.hash} is of the feature {codebook.feature.name}, which "
            f"needs no encoder; leave it out"
        )
    return replace(codebook, feature=codebook.feature.model_copy(update={"encoder": str(encoder.resolve())}))


def _label_parts(jobs: Sequence[_PartJob], num_clips: int, feature: FeatureConfig) -> None:
    done = {job.part: read_json(job.facts_path)["num_clips"] for job in jobs if _is_done(job)}
    left = [job for job in jobs if job.part not in done]
    with session(), progress("label", num_clips, "clips") as meter:
        meter.start_from(sum(done.values()))
        for _, clips in run_tasks(_label_part, left, num_gpus=gpus_per_task(feature)):
            meter.advance(clips)


def _is_done(job: _PartJob) -> bool:
    """Whether an earlier run finished this part, of the same shards, and its bytes are still those."""
    if not (job.facts_path.exists() and job.labels_path.exists()):
        return False
    facts = read_json(job.facts_path)
    return facts["fingerprint"] == job.fingerprint and facts["sha256"] == sha256_file(job.labels_path)


def _label_part(job: _PartJob) -> int:
    """Label one part and return its number of clips."""
    torch.set_num_threads(1)
    codebook = load_codebook(job.directory)
    feature = feature_here(codebook.feature)
    audio_path, audio_sha256 = job.shards.part_path(job.part), _checked_hash(job.shards, job.part)
    counts = np.zeros(codebook.num_clusters, np.int64)
    num_clips = 0
    with replacing(job.labels_path) as temporary:
        try:
            with pq.ParquetFile(audio_path) as audio, pq.ParquetWriter(temporary, LABEL_SCHEMA) as writer:
                for row_group in range(audio.num_row_groups):
                    clips = audio.read_row_group(row_group, columns=["clip_id", "pcm"])
                    labels = _labels_of(clips, feature, codebook)
                    writer.write_table(_table(clips["clip_id"], labels), row_group_size=max(1, len(clips)))
                    counts += np.bincount(np.concatenate(labels), minlength=codebook.num_clusters)
                    num_clips += len(clips)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{audio_path} cannot be labelled ({error}); make the shards again") from error
        check_rows(audio_path, temporary)
    facts = {
        "fingerprint": job.fingerprint,
        "sha256": sha256_file(job.labels_path),
        "audio_sha256": audio_sha256,
        "codebook_hash": codebook.hash,
        "feature": feature_values(codebook.feature),
        "frame_rate": codebook.frame_rate,
        "num_clips": num_clips,
        "counts": counts.tolist(),
    }
    write_json(job.facts_path, facts)
    return num_clips


def _checked_hash(shards: Shards, part: int) -> str:
    """The SHA-256 of an audio part, which must be what `prepare` recorded."""
    path = shards.part_path(part)
    try:
        recorded, found = read_json(sidecar_path(shards.path, part))["sha256"], sha256_file(path)
    except OSError as error:
        raise DataError(f"{path} cannot be checked ({error}); make the shards again") from error
    if found != recorded:
        raise DataError(
            f"{path} has changed since `prepare` wrote it (SHA-256 {found[:HASH_LENGTH]}, recorded {recorded[:HASH_LENGTH]}); "
            f"make the shards again"
        )
    return found


def check_rows(audio_path: Path, labels_path: Path) -> None:
    """Check that a part's labels have the clips of its audio, in the same order and the same row groups.

    Raises:
        DataError: if not; the message names the first row group that differs.
    """
    with pq.ParquetFile(audio_path) as audio, pq.ParquetFile(labels_path) as labels:
        if audio.num_row_groups != labels.num_row_groups:
            raise DataError(
                f"{audio_path} has {audio.num_row_groups} row groups but its labels {labels.num_row_groups}; label it again"
            )
        for row_group in range(audio.num_row_groups):
            expected = audio.read_row_group(row_group, columns=["clip_id"])["clip_id"]
            found = labels.read_row_group(row_group, columns=["clip_id"])["clip_id"]
            if not expected.equals(found):
                raise DataError(
                    f"row group {row_group} of {audio_path} and that of its labels hold different clips; label it again"
                )


def _labels_of(clips: pa.Table, feature: TargetFeature, codebook: Codebook) -> list[Int32[np.ndarray, " _"]]:
    with one_blas_thread():
        return [assign(clip_frames(feature, pcm), codebook.centroids) for pcm in pcm_views(clips["pcm"])]


def _table(clip_ids: pa.ChunkedArray, labels: Sequence[Int32[np.ndarray, " _"]]) -> pa.Table:
    ends = np.cumsum([0, *(len(clip) for clip in labels)]).astype(np.int64)
    values = np.concatenate(labels) if labels else np.empty(0, np.int32)
    column = pa.LargeListArray.from_arrays(pa.array(ends), pa.array(values, pa.int32()))
    return pa.Table.from_arrays([clip_ids.combine_chunks(), column], schema=LABEL_SCHEMA)


def _check_fits_its_feature(codebook: Codebook) -> None:
    feature = load_feature(codebook.feature)
    told = (codebook.dim, codebook.frame_rate)
    made = (feature.dim, feature.grid.frame_rate)
    if told != made:
        raise DataError(
            f"codebook {codebook.hash} has {told[0]} dimensions at {told[1]} Hz, but its feature {feature.name} gives "
            f"{made[0]} at {made[1]} Hz; fit it again with `musicssl kmeans`"
        )


def _summary(shards: Shards, codebook: Codebook, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    usage = np.sum([part["counts"] for part in parts], axis=0).astype(int).tolist()
    entropy = entropy_nats(usage)
    if sum(count > 0 for count in usage) < 2:
        logger.warning("all frames of %s have the same label: nothing can be learned from them", shards.path)
    return {
        "shards": shards.content_hash,
        "codebook_hash": codebook.hash,
        "codebook_parent": codebook.fit.parent,
        "feature": feature_values(codebook.feature),
        "frame_rate": codebook.frame_rate,
        "num_clusters": codebook.num_clusters,
        "num_frames": sum(usage),
        "usage": usage,
        "entropy_nats": entropy,
    }
