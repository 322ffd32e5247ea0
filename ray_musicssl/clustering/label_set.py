"""Finding a finished set of labels and checking that it belongs to the shards it lies beside."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ray_musicssl.audio.shard import Shards, part_name
from ray_musicssl.clustering.codebook import FACTS_NAME, load_codebook, read_feature
from ray_musicssl.config.feature import FeatureConfig
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.run_dir import HASH_LENGTH, done_facts, read_json, sha256_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LabelSet:
    """Labels of every clip of some shards: `path/part-00000.parquet`, ... with the rows of the audio parts."""

    path: Path
    codebook_hash: str
    num_clusters: int  # labels lie in [0, num_clusters)
    frame_rate: float  # labels a second
    entropy_nats: float  # of the labels; the loss of a model that learned nothing
    feature: FeatureConfig

    @property
    def words(self) -> str:
        """What the labels are, for messages: clusters, feature and rate."""
        return f"{self.num_clusters} clusters of {self.feature} at {self.frame_rate} Hz"

    def part_path(self, part: int) -> Path:
        """The Parquet file of a part."""
        return self.path / part_name(part)


def open_labels(shards: Shards, path: Path | None = None) -> LabelSet:
    """Open the labels at `path`, or the only ones there are.

    Args:
        shards: the clips that the labels must belong to.
        path: a directory that `musicssl label` has finished; None for the only one under the shards that is theirs.

    Raises:
        ConfigError: if `path` is None and there are several sets.
        DataError: if there is no finished set, it was made from other shards, or the codebook beside the labels is not the
            one that made them.
    """
    directory = path if path is not None else _only_set(shards)
    facts = done_facts(directory, "label")
    if facts is None:
        raise DataError(
            f"{directory} holds no finished labels; run `musicssl label --shards {shards.path} --codebook CODEBOOK`"
        )
    if facts["shards"] != shards.content_hash:
        raise DataError(
            f"the labels at {directory} were made from shards {facts['shards']}, but {shards.path} holds shards "
            f"{shards.content_hash}; run `musicssl label` on these shards"
        )
    missing = [part for part in shards.parts() if not (directory / part_name(part)).exists()]
    if missing:
        raise DataError(
            f"the labels at {directory} lack {part_name(missing[0])} ({len(missing)} parts in all are missing); "
            f"delete the directory and run `musicssl label` again"
        )
    for part in shards.parts():
        _check_part(directory / part_name(part), facts["codebook_hash"])
    opened = _from_facts(directory, facts)
    _check_codebook(opened)
    return opened


def _check_part(path: Path, codebook_hash: str) -> None:
    """Check that a part is the one that the JSON beside it describes, of this codebook; one without JSON is taken as it is."""
    facts_path = path.with_suffix(".json")
    if not facts_path.exists():
        return
    told, found = read_json(facts_path), sha256_file(path)
    if (told["codebook_hash"], told["sha256"]) != (codebook_hash, found):
        raise DataError(
            f"{path} (SHA-256 {found[:HASH_LENGTH]}) is not the part that `musicssl label` wrote: {facts_path.name} tells of "
            f"SHA-256 {told['sha256'][:HASH_LENGTH]} and codebook {told['codebook_hash']}, the labels are of codebook "
            f"{codebook_hash}; delete both files and run `musicssl label` again"
        )


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


def sets_of(shards: Shards) -> list[Path]:
    """The finished sets under the shards, by name; a set of other shards is passed over with a warning."""
    found = []
    for marker in sorted(shards.labels_dir.glob("*/done-label.json")):
        facts = done_facts(marker.parent, "label")
        if facts is not None and facts["shards"] == shards.content_hash:
            found.append(marker.parent)
        else:
            logger.warning("%s was made from other shards and is not used; delete it", marker.parent)
    return found


def _only_set(shards: Shards) -> Path:
    found = sets_of(shards)
    if not found:
        raise DataError(
            f"no labels under {shards.labels_dir}; run `musicssl label --shards {shards.path} --codebook CODEBOOK`"
        )
    if len(found) > 1:
        listing = ", ".join(f"{directory} ({_described(directory)})" for directory in found)
        raise ConfigError(f"{len(found)} sets of labels belong to {shards.path}; choose one with `--labels`: {listing}")
    return found[0]


def _described(directory: Path) -> str:
    facts = done_facts(directory, "label") or {}
    return f"{read_feature(facts['feature']).slug}, k={facts['num_clusters']}"


def _check_codebook(labels: LabelSet) -> None:
    """Check that the codebook beside the labels is theirs; labels without one can be trained on."""
    if not (labels.path / FACTS_NAME).exists():
        return
    codebook = load_codebook(labels.path)
    remedy = "put the right codebook back, or delete the directory and run `musicssl label` again"
    if codebook.hash != labels.codebook_hash:
        raise DataError(
            f"the labels at {labels.path} were made with the codebook {labels.codebook_hash}, but the one that lies there is "
            f"{codebook.hash}; {remedy}"
        )
    told = (labels.feature.identity, labels.num_clusters, labels.frame_rate)
    found = (codebook.feature.identity, codebook.num_clusters, codebook.frame_rate)
    if told != found:
        raise DataError(
            f"the labels at {labels.path} say they are {labels.words}, but their codebook is {codebook.num_clusters} clusters "
            f"of {codebook.feature} at {codebook.frame_rate} Hz; {remedy}"
        )


def _from_facts(directory: Path, facts: Mapping[str, Any]) -> LabelSet:
    return LabelSet(
        path=directory,
        codebook_hash=facts["codebook_hash"],
        num_clusters=facts["num_clusters"],
        frame_rate=facts["frame_rate"],
        entropy_nats=facts["entropy_nats"],
        feature=read_feature(facts["feature"]),
    )
