"""Labels of one part of the shards by every codebook that still lacks them: one Ray task of the stage `label`.

Conventions:
    The audio is read once, a row group at a time; that much audio and its labels are all that is held.
    A part's JSON is written after its labels, so a part with one is complete.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Int32, Int64

from ray_musicssl.audio.shard import LABEL_SCHEMA, Shards, part_name, pcm_views
from ray_musicssl.audio.writer import sidecar_path
from ray_musicssl.clustering.chain import CodebookChain, load_chain
from ray_musicssl.clustering.codebook import Codebook, feature_values
from ray_musicssl.clustering.label_set import check_rows
from ray_musicssl.clustering.usage import LONGEST_RUN, run_lengths
from ray_musicssl.errors import DataError
from ray_musicssl.features.labeller import Labeller
from ray_musicssl.on_ray.targets import device_here, features_here
from ray_musicssl.run_dir import HASH_LENGTH, read_json, replacing, sha256_file, write_json


@dataclass(frozen=True, kw_only=True)
class LabelOutput:
    """The labels of one codebook: where they go, beside the codebook, and what they depend on."""

    directory: Path
    codebook_hash: str
    fingerprint: str

    def labels_path(self, part: int) -> Path:
        """The labels of a part."""
        return self.directory / part_name(part)

    def facts_path(self, part: int) -> Path:
        """What the labels of a part are."""
        return self.labels_path(part).with_suffix(".json")

    def has(self, part: int) -> bool:
        """Whether an earlier run finished a part, of the same shards, and its bytes are still those."""
        if not (self.facts_path(part).exists() and self.labels_path(part).exists()):
            return False
        facts = read_json(self.facts_path(part))
        is_same = facts["fingerprint"] == self.fingerprint and "run_lengths" in facts
        return is_same and facts["sha256"] == sha256_file(self.labels_path(part))


@dataclass(frozen=True, kw_only=True)
class PartJob:
    """One part to label, and for whom."""

    shards: Shards
    part: int
    outputs: tuple[LabelOutput, ...]


class _Tally:
    """What is counted of one codebook's labels."""

    def __init__(self, num_clusters: int) -> None:
        self.counts: Int64[np.ndarray, " clusters"] = np.zeros(num_clusters, np.int64)
        self.run_lengths: Int64[np.ndarray, " lengths"] = np.zeros(LONGEST_RUN + 1, np.int64)

    def add(self, labels: Int32[np.ndarray, " frames"]) -> None:
        """Count a clip."""
        self.counts += np.bincount(labels, minlength=len(self.counts))
        self.run_lengths += run_lengths(labels)


def label_part(job: PartJob) -> int:
    """Label one part for all its outputs and return its number of clips.

    Raises:
        DataError: if the audio is damaged, a clip's frames are NaN or infinite, or a directory holds another codebook than
            the one it is for.
    """
    torch.set_num_threads(1)
    chains = [_chain_for(output) for output in job.outputs]
    leaves = [chain.leaf for chain in chains]
    labeller = Labeller(chains, features_here(leaves), [device_here(leaf) for leaf in leaves])
    audio_path, audio_sha256 = job.shards.part_path(job.part), _checked_hash(job.shards, job.part)
    tallies = [_Tally(chain.first.num_clusters) for chain in chains]
    with ExitStack() as stack:
        temporaries = [stack.enter_context(replacing(output.labels_path(job.part))) for output in job.outputs]
        try:
            num_clips = _write_labels(audio_path, temporaries, labeller, tallies)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{audio_path} cannot be labelled ({error}); make the shards again") from error
        for temporary in temporaries:
            check_rows(audio_path, temporary)
    for output, chain, tally in zip(job.outputs, chains, tallies, strict=True):
        _write_facts(output, job.part, chain.first, tally, num_clips=num_clips, audio_sha256=audio_sha256)
    return num_clips


def _chain_for(output: LabelOutput) -> CodebookChain:
    chain = load_chain(output.directory)
    if chain.first.hash != output.codebook_hash:
        raise DataError(
            f"{output.directory} holds the codebook {chain.first.hash}, but its labels are of {output.codebook_hash}; was it "
            f"exchanged? Label again with the right one"
        )
    return chain


def _write_labels(audio_path: Path, paths: Sequence[Path], labeller: Labeller, tallies: Sequence[_Tally]) -> int:
    """Write one file of labels a codebook and return the number of clips."""
    num_clips = 0
    with ExitStack() as stack:
        audio = stack.enter_context(pq.ParquetFile(audio_path))
        writers = [stack.enter_context(pq.ParquetWriter(path, LABEL_SCHEMA)) for path in paths]
        for row_group in range(audio.num_row_groups):
            clips = audio.read_row_group(row_group, columns=["clip_id", "pcm"])
            by_clip = [
                labeller(pcm, place=f"clip {row} of row group {row_group} in {audio_path}")
                for row, pcm in enumerate(pcm_views(clips["pcm"]))
            ]
            for number, (writer, tally) in enumerate(zip(writers, tallies, strict=True)):
                labels = [of_clip[number] for of_clip in by_clip]
                for clip in labels:
                    tally.add(clip)
                writer.write_table(_table(clips["clip_id"], labels), row_group_size=max(1, len(clips)))
            num_clips += len(clips)
    return num_clips


def _table(clip_ids: pa.ChunkedArray, labels: Sequence[Int32[np.ndarray, " _"]]) -> pa.Table:
    ends = np.cumsum([0, *(len(clip) for clip in labels)]).astype(np.int64)
    values = np.concatenate(labels) if labels else np.empty(0, np.int32)
    column = pa.LargeListArray.from_arrays(pa.array(ends), pa.array(values, pa.int32()))
    return pa.Table.from_arrays([clip_ids.combine_chunks(), column], schema=LABEL_SCHEMA)


def _write_facts(
    output: LabelOutput, part: int, codebook: Codebook, tally: _Tally, *, num_clips: int, audio_sha256: str
) -> None:
    facts = {
        "fingerprint": output.fingerprint,
        "sha256": sha256_file(output.labels_path(part)),
        "audio_sha256": audio_sha256,
        "codebook_hash": codebook.hash,
        "feature": feature_values(codebook.feature),
        "frame_rate": codebook.frame_rate,
        "num_clips": num_clips,
        "counts": tally.counts.tolist(),
        "run_lengths": tally.run_lengths.tolist(),
    }
    write_json(output.facts_path(part), facts)


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
