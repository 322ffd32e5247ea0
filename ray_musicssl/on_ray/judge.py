"""Holds labels of a demo corpus against what is known to sound: purity, NMI and PNMI for every kind of truth.

Conventions:
    `quality.json` beside the labels has the measures of each kind (`demo/truth.py`), and twice what chance gives: with the
    labels shuffled across frames, and held against the truth of another song. The second is the stricter one: labels that
    know a song by its sound know all that never changes in it, without hearing any of that.
    Tasks count; the driver adds their tables as they come (whole numbers). Labels of other music are left as they are, and
    nothing is read of them.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Int32

from ray_musicssl import randomness
from ray_musicssl.audio.frames import ENCODER_GRID, SAMPLE_RATE
from ray_musicssl.audio.shard import Shards
from ray_musicssl.clustering.contingency import Contingency, count_pairs
from ray_musicssl.clustering.label_set import LabelSet, check_rows, open_labels
from ray_musicssl.clustering.quality import judge, log_warnings
from ray_musicssl.demo.file_job import FileJob
from ray_musicssl.demo.truth import ABOUT, KINDS, PoolSongs, open_pool, truth_at
from ray_musicssl.errors import DataError
from ray_musicssl.on_ray.session import run_tasks, session
from ray_musicssl.progress import progress
from ray_musicssl.run_dir import done_facts, hash_of, read_json, write_json

logger = logging.getLogger(__name__)

QUALITY_NAME = "quality.json"
VERSION = 1  # raise it when the same labels begin to give other measures
# Every feature's frame is centred where the encoder's is: the middle of 25 ms.
_CENTRE = ENCODER_GRID.receptive_field / 2
_SEED = 0

Tables = dict[str, Contingency]


@dataclass(frozen=True, kw_only=True)
class _SongPair:
    """The song that a clip is of, and another one of the same corpus."""

    own: FileJob
    other: FileJob


@dataclass(frozen=True, kw_only=True)
class _PartJob:
    """One part of the labels, and the songs its clips are of."""

    labels: LabelSet
    shards: Shards
    part: int
    songs: Mapping[str, _SongPair]  # by track


@dataclass(frozen=True, kw_only=True)
class _Counted:
    """What a part adds."""

    own: Tables
    other: Tables

    def __add__(self, more: "_Counted") -> "_Counted":
        return _Counted(
            own={kind: table + more.own[kind] for kind, table in self.own.items()},
            other={kind: table + more.other[kind] for kind, table in self.other.items()},
        )


def review_labels(shards: Shards, labels_dir: Path, *, corpus_dir: Path | None = None) -> Path | None:
    """Warn of what is not normal of labels, and hold those of a demo corpus against what sounds there.

    Args:
        shards: the clips.
        labels_dir: what `label` gave for them.
        corpus_dir: the demo corpus the clips are of; None looks beside the shards.

    Returns:
        `quality.json`, or None if the clips are not of a demo corpus.

    Raises:
        DataError: if the labels are not finished, or not of these shards.
    """
    facts = done_facts(labels_dir, "label")
    if facts is None:
        raise DataError(f"{labels_dir} holds no finished labels; run `musicssl label` first")
    findings = judge(usage=facts["usage"], runs=facts.get("run_lengths", ()), frame_rate=facts["frame_rate"])
    log_warnings(findings, f"labels {labels_dir}")
    return judge_labels(shards, labels_dir, corpus_dir=corpus_dir)


def judge_labels(shards: Shards, labels_dir: Path, *, corpus_dir: Path | None = None) -> Path | None:
    """Write `quality.json` beside labels of a demo corpus; one that fits them already is kept.

    Args:
        shards: the clips.
        labels_dir: what `label` gave for them.
        corpus_dir: the demo corpus that the shards were made from; None looks beside the shards.

    Returns:
        The file, or None if the shards are not, in every clip, of a demo corpus that can be found.

    Raises:
        DataError: if there is a demo corpus and the labels are not finished, or not of these shards.
    """
    corpora = [corpus_dir] if corpus_dir else _nearby(shards.path)
    if not corpora:  # the usual case: no manifest of a million clips is read, no part is hashed
        return None
    labels = open_labels(shards, labels_dir)
    found = _find_songs(shards, corpora)
    if found is None:
        return None
    pool, songs = found
    path = labels_dir / QUALITY_NAME
    fingerprint = hash_of([VERSION, shards.content_hash, labels.codebook_hash, pool.fingerprint])
    if path.exists() and read_json(path).get("fingerprint") == fingerprint:
        return path
    counted = _count(labels, shards, songs)
    write_json(path, _facts(counted, labels, num_songs=len(songs)) | {"fingerprint": fingerprint})
    return path


def _find_songs(shards: Shards, corpora: Sequence[Path]) -> tuple[PoolSongs, dict[str, _SongPair]] | None:
    """The pool whose songs all clips are of, and the songs by track; None if some clip is of something else."""
    tracks = sorted(set(shards.manifest()["track_id"].to_pylist()))
    ledger_path = shards.path / "ledger.parquet"
    if not ledger_path.exists():
        return None
    rows = pq.read_table(ledger_path, columns=["track_id", "path", "size_bytes"]).to_pylist()
    files = {row["track_id"]: row for row in rows}
    for directory in corpora:
        pool = open_pool(directory)
        if pool is None:
            continue
        jobs = {track: pool.job_of(files[track]["path"], files[track]["size_bytes"]) for track in tracks}
        own = {track: job for track, job in jobs.items() if job is not None}
        if len(own) == len(tracks):
            return pool, _paired(own)
        logger.info("%s: %d of %d songs are not of %s", shards.path, len(tracks) - len(own), len(tracks), directory)
    return None


def _nearby(shards_dir: Path) -> list[Path]:
    """Directories beside the shards, or around them, that a demo corpus was made in."""
    above = shards_dir.resolve().parent
    return [path.parent for path in sorted([*above.glob("done-demo-data.json"), *above.glob("*/done-demo-data.json")])]


def _paired(own: Mapping[str, FileJob]) -> dict[str, _SongPair]:
    """Give every song another one: they stand in a drawn circle, and each gets the next."""
    tracks = list(own)
    circle = randomness.permutation(len(tracks), _SEED, "another song").tolist()
    follower = dict(zip(circle, [*circle[1:], *circle[:1]], strict=True))
    return {track: _SongPair(own=own[track], other=own[tracks[follower[i]]]) for i, track in enumerate(tracks)}


def _count(labels: LabelSet, shards: Shards, songs: Mapping[str, _SongPair]) -> _Counted:
    tracks = shards.manifest().select(["part", "track_id"]).to_pylist()
    jobs = []
    for part in shards.parts():
        wanted = {row["track_id"] for row in tracks if row["part"] == part}
        songs_of_part = {track: songs[track] for track in sorted(wanted)}
        jobs.append(_PartJob(labels=labels, shards=shards, part=part, songs=songs_of_part))
    total: _Counted | None = None
    with session(), progress("judge", len(jobs), "parts") as meter:
        for _, tables in run_tasks(_count_part, _with_absolute_paths(jobs)):
            total = tables if total is None else total + tables  # whole numbers: in whatever order
            meter.advance()
    assert total is not None, "shards have at least one part"
    return total


def _with_absolute_paths(jobs: Sequence[_PartJob]) -> list[_PartJob]:
    """The same jobs for workers, which have working directories of their own."""
    return [
        _PartJob(
            labels=LabelSet(**{**vars(job.labels), "path": job.labels.path.resolve()}),
            shards=Shards(**{**vars(job.shards), "path": job.shards.path.resolve()}),
            part=job.part,
            songs=job.songs,
        )
        for job in jobs
    ]


def _count_part(job: _PartJob) -> _Counted:
    """The tables of one part's frames, clip by clip."""
    own = _zeros(job.labels.num_clusters)
    other = _zeros(job.labels.num_clusters)
    check_rows(job.shards.part_path(job.part), job.labels.part_path(job.part))
    with (
        pq.ParquetFile(job.shards.part_path(job.part)) as audio,
        pq.ParquetFile(job.labels.part_path(job.part)) as file,
    ):
        for row_group in range(audio.num_row_groups):
            clips = audio.read_row_group(row_group, columns=["track_id", "offset_s"]).to_pylist()
            rows = file.read_row_group(row_group, columns=["labels"])["labels"]
            for clip, row in zip(clips, rows, strict=True):
                labels = row.values.to_numpy()
                pair = job.songs[clip["track_id"]]
                _add_clip(own, labels, pair.own, clip["offset_s"], job.labels)
                _add_clip(other, labels, pair.other, clip["offset_s"], job.labels)
    return _Counted(own=own, other=other)


def _zeros(num_clusters: int) -> Tables:
    return {kind: Contingency(np.zeros((num_clusters, len(names)), np.int64)) for kind, names in KINDS.items()}


def _add_clip(
    tables: Tables, labels: Int32[np.ndarray, " frames"], song: FileJob, offset_s: float, label_set: LabelSet
) -> None:
    times_s = offset_s + np.arange(len(labels)) / label_set.frame_rate + _CENTRE / SAMPLE_RATE
    for kind, classes in truth_at(song.score(), times_s).items():
        size = {"num_clusters": label_set.num_clusters, "num_classes": len(KINDS[kind])}
        tables[kind] += count_pairs(labels, classes, **size)


def _facts(counted: _Counted, labels: LabelSet, *, num_songs: int) -> dict[str, Any]:
    truth = []
    for kind, table in counted.own.items():
        agreement = table.agreement()
        if not agreement.num_frames:
            continue
        measures = {
            "kind": kind,
            "about": ABOUT[kind],
            "labels": asdict(agreement),
            "shuffled": asdict(table.shuffled(_SEED).agreement()),
            "other_song": asdict(counted.other[kind].agreement()) if num_songs > 1 else None,
        }
        truth.append(measures)
    return {"codebook_hash": labels.codebook_hash, "num_songs": num_songs, "truth": truth}
