"""Fixtures of the stages that make labels."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from ray_musicssl.audio.shard import CLIP_SCHEMA, MANIFEST_SCHEMA, Shards, open_shards, part_name, pcm_views
from ray_musicssl.audio.writer import sidecar_path
from ray_musicssl.clustering.codebook import Codebook, FitRecord
from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.features.base import clip_frames
from ray_musicssl.on_ray import extract, fits, probe, room
from ray_musicssl.on_ray import label as stage
from ray_musicssl.probing.hidden_targets import load_feature
from ray_musicssl.run_dir import mark_done, sha256_file, write_json

LENGTHS = (8000, 300, 5555)  # samples of the clips of a row group; the second one is too short for a frame


@pytest.fixture
def twelve_clips(tmp_path: Path) -> Shards:
    """Two parts of two row groups of three clips."""
    path = tmp_path / "shards"
    path.mkdir()
    rng = np.random.default_rng(0)
    places = []
    for part in range(2):
        clips = []
        for row_group in range(2):
            for row, num_samples in enumerate(LENGTHS):
                name = f"clip-{part}{row_group}{row}"
                pcm = (rng.normal(size=num_samples) * rng.uniform(100, 9000)).astype("<i2").tobytes()
                clip = {"clip_id": name, "track_id": name, "offset_s": 0.0, "num_samples": num_samples}
                clips.append(clip | {"pcm": pcm})
                places.append(clip | {"part": part, "row_group": row_group, "row": row})
        pq.write_table(pa.Table.from_pylist(clips, schema=CLIP_SCHEMA), path / part_name(part), row_group_size=3)
        write_json(sidecar_path(path, part), {"sha256": sha256_file(path / part_name(part))})
    pq.write_table(pa.Table.from_pylist(places, schema=MANIFEST_SCHEMA), path / "manifest.parquet")
    mark_done(path, "prepare", fingerprint="x", facts={"content_hash": "twelve", "num_clips": 12, "seconds": 3.5})
    return open_shards(path)


@pytest.fixture(scope="session")
def make_codebook() -> Callable[..., Codebook]:
    """Makes a codebook whose centroids are frames of the audio, so that several labels occur."""

    def make(shards, feature, frame_rate, num_clusters=5, parent="elsewhere") -> Codebook:
        made = load_feature(feature)
        pcm = pcm_views(pq.read_table(shards.part_path(0))["pcm"])
        frames = np.concatenate([clip_frames(made, clip) for clip in pcm])
        centroids = frames[np.linspace(0, len(frames) - 1, num_clusters).astype(int)]
        record = FitRecord(
            parent=parent,
            clustering=ClusteringConfig(num_clusters=num_clusters),
            num_frames=9,
            inertia=(1.0,),
            usage=(9, *[0] * (num_clusters - 1)),
        )
        return Codebook(centroids, feature, frame_rate, record)

    return make


@pytest.fixture(scope="session")
def run_here() -> Callable[..., object]:
    """What `run_tasks` gives, in this process."""
    return lambda function, items, **_: ((index, function(item)) for index, item in enumerate(items))


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, run_here: Callable[..., object]) -> None:
    """Label parts in this process: how the stage goes on after a kill does not depend on who does the work."""
    monkeypatch.setattr(stage, "session", nullcontext)
    monkeypatch.setattr(stage, "run_tasks", run_here)
    monkeypatch.setattr(stage, "gpus_per_task", lambda feature: 0)


@pytest.fixture
def gtzan_dir(tmp_path: Path) -> Path:
    """Two genres that sound apart; a click every half second; one test track is no audio."""
    root = tmp_path / "gtzan"
    rng = np.random.default_rng(0)
    number = 0
    for split, count in {"train": 4, "valid": 2, "test": 2}.items():
        lines = []
        for genre, hertz in {"blues": 220.0, "rock": 3000.0}.items():
            for _ in range(count):
                name = f"{genre}.{number:05d}"
                time_s = np.arange(3 * 8000) / 8000
                audio = 0.2 * np.sin(2 * np.pi * hertz * time_s) * (1 + 3 * (time_s % 0.5 < 0.03))
                path = root / "genres" / genre / f"{name}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, audio + 0.01 * rng.standard_normal(len(audio)), 8000)
                beats_path = root / "beats" / f"gtzan_{genre}_{number:05d}.beats"
                beats_path.parent.mkdir(exist_ok=True)
                beats_path.write_text("".join(f"{beat:.3f}\n" for beat in np.arange(0, 3, 0.5)))
                lines.append(f"{genre}/{name}.wav\n")
                number += 1
        (root / f"{split}_filtered.txt").write_text("".join(lines))
    path.write_bytes(b"no audio")
    return root


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The tasks of `probe` run here, one after another; gives the name and the memory in bytes of those that ran."""
    ran = []
    extract._opened.cache_clear()  # tests give one name to several encoders

    def in_process(function, items, *, memory_bytes=()):
        for index, item in enumerate(items):
            ran.append((function.__name__, memory_bytes[index] if memory_bytes else 0))
            yield index, function(item)

    for module in (fits, extract):
        monkeypatch.setattr(module, "run_tasks", in_process)
    monkeypatch.setattr(probe, "session", nullcontext)
    monkeypatch.setattr(room.ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 8.0, "memory": 64e9}}])
    return ran
