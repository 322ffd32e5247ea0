"""Fixtures for all tests."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_musicssl.audio.frames import SAMPLE_RATE, FrameGrid
from ray_musicssl.audio.shard import CLIP_SCHEMA, LABEL_SCHEMA, MANIFEST_SCHEMA, Shards, open_shards, part_name
from ray_musicssl.run_dir import mark_done

# Set before ray is first imported: worker losses are noticed sooner, and BLAS keeps to its core.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.25")
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """One private Ray cluster with 2 CPUs for every test that wants Ray."""
    from ray_musicssl.on_ray.session import session

    with session(num_cpus=2):
        yield


@pytest.fixture(scope="session")
def metadata_dir() -> Path:
    """The folder of real annotation files; tests that need it are skipped where there is none."""
    path = os.environ.get("MUSICSSL_METADATA_DIR")
    if not path or not Path(path).is_dir():
        pytest.skip("MUSICSSL_METADATA_DIR names no folder of annotation files")
    return Path(path)


@pytest.fixture(scope="session")
def make_shards() -> Callable[..., Shards]:
    """Writes finished shards of noise: `make_shards(path, seconds=[...], label_sets=[...])`."""
    return _write_shards


def _write_shards(
    path: Path,
    *,
    seconds: Sequence[float],
    parts: int = 2,
    clips_per_row_group: int = 4,
    label_sets: Sequence[dict] = (),
) -> Shards:
    draws = np.random.default_rng(0)
    path.mkdir(parents=True)
    per_part = -(-len(seconds) // parts)
    places = []
    for part in range(parts):
        rows = []
        for row, duration in enumerate(seconds[part * per_part : (part + 1) * per_part]):
            pcm = (draws.normal(size=round(duration * SAMPLE_RATE)) * 3000).astype("<i2")
            clip = {"clip_id": f"{part}-{row}", "track_id": str(part), "offset_s": 0.0, "num_samples": len(pcm)}
            rows.append(clip | {"pcm": pcm.tobytes()})
            places.append(
                clip | {"part": part, "row_group": row // clips_per_row_group, "row": row % clips_per_row_group}
            )
        table = pa.Table.from_pylist(rows, CLIP_SCHEMA)
        pq.write_table(table, path / part_name(part), row_group_size=clips_per_row_group)
    pq.write_table(pa.Table.from_pylist(places, MANIFEST_SCHEMA), path / "manifest.parquet")
    facts = {"content_hash": "feedfeedfeedfeed", "num_clips": len(seconds), "seconds": float(sum(seconds))}
    mark_done(path, "prepare", fingerprint="x", facts=facts)
    for number, label_set in enumerate(label_sets):
        _write_labels(path, f"{number:016x}", clips_per_row_group, **label_set)
    return open_shards(path)


def _write_labels(
    shards_dir: Path, name: str, clips_per_row_group: int, *, feature: dict, frame_rate: float, num_clusters: int
) -> None:
    """Labels that say where they are: frame t of a clip has the label t modulo the number of clusters."""
    directory = shards_dir / "labels" / name
    directory.mkdir(parents=True)
    grid = FrameGrid(receptive_field=400, hop_length=round(SAMPLE_RATE / frame_rate))
    for path in sorted(shards_dir.glob("part-*.parquet")):
        clips = pq.read_table(path, columns=["clip_id", "num_samples"]).to_pylist()
        rows = [
            {"clip_id": clip["clip_id"], "labels": np.arange(grid.num_frames(clip["num_samples"])) % num_clusters}
            for clip in clips
        ]
        pq.write_table(
            pa.Table.from_pylist(rows, LABEL_SCHEMA), directory / path.name, row_group_size=clips_per_row_group
        )
    facts = {
        "shards": "feedfeedfeedfeed",
        "codebook_hash": name,
        "num_clusters": num_clusters,
        "frame_rate": frame_rate,
        "entropy_nats": float(np.log(num_clusters)),
        "feature": feature,
    }
    mark_done(directory, "label", fingerprint=name, facts=facts)
