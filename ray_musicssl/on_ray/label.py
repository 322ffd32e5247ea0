"""The stage `label`: shards + codebooks -> the cluster of every frame of every clip, by each codebook.

Conventions:
    `DIR/labels/<codebook hash>/part-00000.parquet` has the rows, order and row groups of the audio part of that name, and
    `part-00000.json` beside it says what it is; that JSON is written last, so a part with one is complete.
    However many codebooks there are, a part's audio is read once, for those that lack labels of it.
    A frame's label depends on its clip and its codebook alone, never on which clips or codebooks it was computed with.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ray_musicssl.audio.shard import Shards
from ray_musicssl.clustering.chain import CodebookChain, chain_of
from ray_musicssl.clustering.codebook import Codebook, entropy_nats, feature_values
from ray_musicssl.clustering.usage import mean_run
from ray_musicssl.config.feature import FeatureConfig, HiddenConfig, ResidualConfig
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.features.base import TargetFeature
from ray_musicssl.on_ray.label_part import LabelOutput, PartJob, label_part
from ray_musicssl.on_ray.session import run_tasks, session
from ray_musicssl.on_ray.targets import gpus_per_task
from ray_musicssl.probing.hidden_targets import load_feature
from ray_musicssl.progress import progress, stderr
from ray_musicssl.run_dir import done_with, hash_of, locked, mark_done, read_json, remove_temporaries

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _LabelSet:
    """A codebook whose labels are not finished, with all that it is a residual of, and where they go."""

    chain: CodebookChain
    output: LabelOutput


def label(shards: Shards, codebooks: Sequence[Codebook], *, encoder: Path | None = None) -> list[Path]:
    """Label every clip with each codebook, in one pass over the audio; parts that are there already are kept.

    Args:
        shards: the clips.
        codebooks: what their frames are compared with; one that is given twice counts once. A codebook of residuals finds
            the one before it among these, or where `kmeans` found it.
        encoder: where the encoder of codebooks of hidden features lies, if not where `kmeans` found it.

    Returns:
        The directory of each codebook's labels, in the order of the codebooks.

    Raises:
        ConfigError: if `encoder` is given and no codebook needs one.
        DataError: if a codebook does not fit its own feature, the feature's encoder or codebook is missing or another one,
            or a part of the shards is damaged.
        ResumeRefusedError: if a directory holds labels of other shards.
    """
    known = {codebook.hash: codebook for codebook in codebooks}
    outputs = [_output(shards, codebook) for codebook in known.values()]
    waiting = [output for output in outputs if not _is_finished(output)]
    chains = [chain_of(known[output.codebook_hash], known) for output in waiting]
    if encoder is not None:
        chains = _with_encoder(chains, encoder, list(known.values()))
    if waiting:
        _check_fit_their_features(chains)
        _say_whose(chains, shards)
        sets = [_LabelSet(chain=chain, output=output) for chain, output in zip(chains, waiting, strict=True)]
        _finish(replace(shards, path=shards.path.resolve()), sets)
    return [shards.labels_dir / output.codebook_hash for output in outputs]


def _output(shards: Shards, codebook: Codebook) -> LabelOutput:
    return LabelOutput(
        directory=shards.labels_dir.resolve() / codebook.hash,
        codebook_hash=codebook.hash,
        fingerprint=hash_of({"shards": shards.content_hash, "codebook": codebook.hash}),
    )


def _is_finished(output: LabelOutput) -> bool:
    remedy = f"the shards have changed since: delete {output.directory} and label again"
    return done_with(output.directory, "label", fingerprint=output.fingerprint, remedy=remedy) is not None


def _with_encoder(chains: Sequence[CodebookChain], encoder: Path, codebooks: Sequence[Codebook]) -> list[CodebookChain]:
    waiting = {chain.first.hash: chain.leaf for chain in chains}
    # What a finished residual is of need not be here any more: it may be the one with the encoder.
    leaves = [waiting.get(codebook.hash, codebook.feature) for codebook in codebooks]
    if not any(isinstance(feature, HiddenConfig | ResidualConfig) for feature in leaves):
        given = ", ".join(f"codebook {codebook.hash} of the feature {codebook.feature.name}" for codebook in codebooks)
        raise ConfigError(f"--encoder {encoder} has no use: {given}, which needs no encoder; leave it out")
    return [chain.with_encoder(encoder) if isinstance(chain.leaf, HiddenConfig) else chain for chain in chains]


def _check_fit_their_features(chains: Sequence[CodebookChain]) -> None:
    made: dict[str, TargetFeature] = {}
    for chain in chains:
        key = chain.leaf.model_dump_json()
        feature = made[key] = made.get(key) or load_feature(chain.leaf)
        for codebook in chain.codebooks:
            told, gives = (codebook.dim, codebook.frame_rate), (feature.dim, feature.grid.frame_rate)
            if told != gives:
                raise DataError(
                    f"codebook {codebook.hash} has {told[0]} dimensions at {told[1]} Hz, but its feature {feature.name} "
                    f"gives {gives[0]} at {gives[1]} Hz; fit it again with `musicssl kmeans`"
                )


def _say_whose(chains: Sequence[CodebookChain], shards: Shards) -> None:
    """Say which codebooks were fitted on other audio: right for a validation set, else worth knowing."""
    for codebook in (chain.first for chain in chains):
        if codebook.fit.parent != shards.content_hash:
            stderr.print(
                f"label      codebook {codebook.hash} was fitted on the shards {codebook.fit.parent} and labels the shards "
                f"{shards.content_hash}",
                highlight=False,
                soft_wrap=True,
            )


def _finish(shards: Shards, sets: Sequence[_LabelSet]) -> None:
    with ExitStack() as stack:
        for label_set in sets:
            stack.enter_context(locked(label_set.output.directory))
            remove_temporaries(label_set.output.directory)
            label_set.chain.save(label_set.output.directory)
        _label_parts(shards, [label_set.output for label_set in sets], [label_set.chain.leaf for label_set in sets])
        for label_set in sets:
            directory, fingerprint = label_set.output.directory, label_set.output.fingerprint
            parts = [read_json(label_set.output.facts_path(part)) for part in shards.parts()]
            facts = _summary(shards, label_set.chain.first, parts)
            remove_temporaries(directory)
            mark_done(directory, "label", fingerprint=fingerprint, facts=facts)


def _label_parts(shards: Shards, outputs: Sequence[LabelOutput], leaves: Sequence[FeatureConfig]) -> None:
    with session(), progress("label", shards.num_clips, "clips") as meter:
        num_gpus = max(map(gpus_per_task, leaves))
        if num_gpus:  # parts that were labelled on CPUs differ by rounding: they are made again
            outputs = [
                replace(output, fingerprint=hash_of([output.fingerprint, "labelled on a gpu"])) for output in outputs
            ]
        jobs, clips_done = [], 0
        for part in shards.parts():
            lacking = tuple(output for output in outputs if not output.has(part))
            if lacking:
                jobs.append(PartJob(shards=shards, part=part, outputs=lacking))
            else:
                clips_done += read_json(outputs[0].facts_path(part))["num_clips"]
        meter.start_from(clips_done)
        for _, clips in run_tasks(label_part, jobs, num_gpus=num_gpus):
            meter.advance(clips)


def _summary(shards: Shards, codebook: Codebook, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    usage = np.sum([part["counts"] for part in parts], axis=0).astype(int).tolist()
    if sum(count > 0 for count in usage) < 2:
        logger.warning("all frames of %s have the same label: nothing can be learned from them", shards.path)
    runs = np.sum([part["run_lengths"] for part in parts], axis=0).astype(int).tolist()
    return {
        "shards": shards.content_hash,
        "codebook_hash": codebook.hash,
        "codebook_parent": codebook.fit.parent,
        "feature": feature_values(codebook.feature),
        "frame_rate": codebook.frame_rate,
        "num_clusters": codebook.num_clusters,
        "num_frames": sum(usage),
        "usage": usage,
        "dead_clusters": usage.count(0),
        "entropy_nats": entropy_nats(usage),
        "run_lengths": runs,
        "mean_run_s": mean_run(sum(usage), runs) / codebook.frame_rate,
    }
