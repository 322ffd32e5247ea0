"""Fixtures for all tests."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

from ray_musicssl.audio.frames import SAMPLE_RATE, FrameGrid
from ray_musicssl.audio.shard import CLIP_SCHEMA, LABEL_SCHEMA, MANIFEST_SCHEMA, Shards, open_shards, part_name
from ray_musicssl.run_dir import RunDir, mark_done

if TYPE_CHECKING:  # torch is loaded by the tests that train
    from ray_musicssl.config.pretrain import PretrainConfig
    from ray_musicssl.training.checkpoint import Checkpoint

# Set before ray is first imported: worker losses are noticed sooner, and BLAS keeps to its core.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.25")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A busy machine is no failure: properties have no deadline.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

OPEN_SESSIONS = (
    "demo_data",
    "prepare",
    "kmeans",
    "label",
    "judge",
    "codebook_board",
    "pretrain",
    "embed",
    "probe",
    "pipeline",
    "tune",
    "session",
)  # of on_ray


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """One private Ray cluster with 2 CPUs for every test that wants Ray."""
    from ray_musicssl.on_ray.session import session

    with session(num_cpus=2):
        yield


@dataclass(frozen=True)
class TinyRun:
    """A run small enough to be killed, resumed and compared byte for byte.

    40 clips and 8 crops a step: 5 steps are one epoch, the 30 steps six. Every step is logged, every fifth saved.
    """

    shards: Shards
    preset: str = "music2vec-demo"
    clips_per_epoch: int = 40
    num_steps: int = 30
    overrides: tuple[str, ...] = (
        *("encoder.num_layers=2", "encoder.dim=32", "encoder.ffn_dim=64", "encoder.num_heads=2"),
        *("encoder.conv_dim=16", "encoder.dropout=0.1", "encoder.layerdrop=0.3", "encoder.conv_norm=group"),
        *("audio.crop_s=0.5", "audio.batch_s=4", "audio.micro_batch_s=1", "training.reduce=ordered"),
        *("objective.top_k=2", "encoder.normalize_waveform=false", "training.seed=1337", "optim.peak_lr=1e-3"),
        *("training.max_steps=30", "training.checkpoint_every_steps=5", "training.keep_checkpoints=10"),
        *("training.log_every_steps=1", "scaling.num_workers=0"),
    )

    def config(self, *overrides: str) -> "PretrainConfig":
        """Its settings, with some changed."""
        from ray_musicssl.config.loading import load_config
        from ray_musicssl.config.pretrain import PretrainConfig

        return load_config(PretrainConfig, preset=self.preset, overrides=[*self.overrides, *overrides])

    def train(self, run_dir: Path, *overrides: str) -> "Checkpoint":
        """Train it, or go on; inside this process unless an override says otherwise."""
        from ray_musicssl.on_ray.pretrain import pretrain

        return pretrain(self.config(*overrides), self.shards, RunDir(run_dir))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A tiny run and its shards of noise."""
    return TinyRun(_write_shards(tmp_path_factory.mktemp("tiny") / "shards", seconds=[1.0] * 40))


@pytest.fixture(scope="session")
def whole_run_dir(tiny: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run, trained by one worker inside this process without a break: what others must equal."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    tiny.train(run_dir)
    return run_dir


@pytest.fixture(scope="session")
def damage_checkpoint() -> Callable[[Path], None]:
    """Flips one bit in the middle of a checkpoint's weights."""

    def damage(directory: Path) -> None:
        path = directory / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    return damage


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


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., SimpleNamespace]:
    """Run a command line inside this process, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUSICSSL_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    from ray_musicssl import cli

    def run_words(*words: object) -> SimpleNamespace:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main([str(word) for word in words])
        said = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code, out=said.out, err=said.err)

    return run_words


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test whose command reaches for a cluster."""

    @contextmanager
    def refuse(**_: object) -> Iterator[None]:
        pytest.fail("the command started Ray")
        yield

    for name in OPEN_SESSIONS:
        monkeypatch.setattr(f"ray_musicssl.on_ray.{name}.session", refuse)
