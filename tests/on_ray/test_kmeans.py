import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_musicssl.audio.shard import CLIP_SCHEMA, MANIFEST_SCHEMA, open_shards, part_name, pcm_views
from ray_musicssl.clustering.block_files import BlockFiles
from ray_musicssl.clustering.codebook import Codebook, FitRecord, load_codebook
from ray_musicssl.clustering.lloyd import fit
from ray_musicssl.clustering.minibatch import MinibatchState
from ray_musicssl.clustering.oversampling import SeedingState
from ray_musicssl.clustering.sample import ClipBlock
from ray_musicssl.clustering.seeding import kmeans_plus_plus
from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.config.feature import HiddenConfig, MfccConfig
from ray_musicssl.config.pretrain import KmeansConfig
from ray_musicssl.errors import ConfigError, DataError, EnvironmentFaultError, ResumeRefusedError
from ray_musicssl.features.base import clip_frames, make_feature
from ray_musicssl.on_ray import kmeans
from ray_musicssl.on_ray.block_frames import Block, Recipe
from ray_musicssl.on_ray.kmeans import fit_codebook
from ray_musicssl.probing import hidden_targets
from ray_musicssl.run_dir import mark_done, read_json, write_json

CONFIG = KmeansConfig(
    feature=MfccConfig(num_coefficients=4), clustering=ClusteringConfig(num_clusters=6, num_iterations=5, tolerance=0)
)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Two parts of two row groups of three half-second clips."""
    path = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(0)
    rows, places = [], []
    for part in range(2):
        groups = []
        for row_group in range(2):
            for row in range(3):
                name = f"clip-{part}{row_group}{row}"
                pcm = (rng.normal(size=8000) * rng.uniform(100, 9000, 10).repeat(800)).astype("<i2")
                clip = {"clip_id": name, "track_id": name, "offset_s": 0.0, "num_samples": 8000}
                groups.append(clip | {"pcm": pcm.tobytes()})
                places.append(clip | {"part": part, "row_group": row_group, "row": row})
        pq.write_table(pa.Table.from_pylist(groups, schema=CLIP_SCHEMA), path / part_name(part), row_group_size=3)
        rows += groups
    pq.write_table(pa.Table.from_pylist(places, schema=MANIFEST_SCHEMA), path / "manifest.parquet")
    facts = {"content_hash": "twelve-clips", "num_clips": len(rows), "seconds": len(rows) / 2}
    mark_done(path, "prepare", fingerprint="x", facts=facts)
    return open_shards(path)


def all_frames(shards):
    feature = make_feature(CONFIG.feature)
    tables = [pq.read_table(shards.part_path(part)) for part in shards.parts()]
    return np.concatenate([clip_frames(feature, pcm) for table in tables for pcm in pcm_views(table["pcm"])])


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_the_codebook_is_one_process_s_whatever_ran_at_once_or_was_killed(shards, tmp_path, monkeypatch):
    two_at_once = fit_codebook(shards, tmp_path / "two", CONFIG, cpus_per_task=1)
    one_at_once = fit_codebook(shards, tmp_path / "one", CONFIG, cpus_per_task=2)
    centroids = (tmp_path / "two/centroids.safetensors").read_bytes()
    assert (tmp_path / "one/centroids.safetensors").read_bytes() == centroids
    assert (tmp_path / "one/codebook.json").read_text() == (tmp_path / "two/codebook.json").read_text()
    assert two_at_once.hash == one_at_once.hash == load_codebook(tmp_path / "two").hash

    frames = all_frames(shards)
    alone = fit(frames, kmeans_plus_plus(frames, 6, seed=0), num_iterations=5)
    np.testing.assert_allclose(two_at_once.centroids, alone.centroids, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(two_at_once.fit.inertia, alone.history, rtol=1e-6)
    np.testing.assert_array_equal(two_at_once.fit.usage, alone.counts)

    def killed_after_two(path, state, *, fingerprint, save=kmeans.save_state):
        save(path, state, fingerprint)
        if state.num_updates == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kmeans, "save_state", killed_after_two)
        with pytest.raises(KeyboardInterrupt):
            fit_codebook(shards, tmp_path / "killed", CONFIG)
    assert not (tmp_path / "killed/codebook.json").exists()
    other = KmeansConfig(feature=CONFIG.feature, clustering=ClusteringConfig(num_clusters=7, num_iterations=5))
    with pytest.raises(ResumeRefusedError, match="unfinished fit with other settings"):
        fit_codebook(shards, tmp_path / "killed", other)
    with monkeypatch.context() as patch:
        patch.setattr(kmeans, "_seeds", lambda *_: pytest.fail("a resumed fit must not begin again"))
        fit_codebook(shards, tmp_path / "killed", CONFIG)
    assert (tmp_path / "killed/centroids.safetensors").read_bytes() == centroids
    names = {path.name for path in (tmp_path / "killed").iterdir() if not path.name.startswith(".")}
    assert names == {"centroids.safetensors", "codebook.json", "done-kmeans.json"}

    with monkeypatch.context() as patch:
        patch.setattr(kmeans, "session", lambda: pytest.fail("a finished fit must not start a cluster"))
        assert fit_codebook(shards, tmp_path / "one", CONFIG).hash == two_at_once.hash
        with pytest.raises(ResumeRefusedError, match="choose another --out"):
            fit_codebook(shards, tmp_path / "one", other)


def other_way(**clustering):
    settings = {"num_clusters": 40, "num_iterations": 4, "tolerance": 0, "seeding": "kmeans||"}
    return KmeansConfig(feature=CONFIG.feature, clustering=ClusteringConfig(**(settings | clustering)))


def fit_killed_at(which, shards, out, config, monkeypatch):
    """Stop a fit after it saved its state for the `which`-th time, then finish it; gives what was saved."""
    saved = []

    def save(path, state, fingerprint, save=kmeans.save_state):
        save(path, state, fingerprint)
        saved.append(state)
        if len(saved) == which:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kmeans, "save_state", save)
        with pytest.raises(KeyboardInterrupt):
            fit_codebook(shards, out, config)
    fit_codebook(shards, out, config)
    return saved[-1]


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_oversampled_seeds_and_mini_batches_give_the_same_bytes_kept_made_again_or_killed(
    shards, tmp_path, monkeypatch
):
    config = other_way()
    whole = fit_codebook(shards, tmp_path / "whole", config)
    bits = (tmp_path / "whole/centroids.safetensors").read_bytes()
    fit_codebook(shards, tmp_path / "again", other_way(frames="recompute"), cpus_per_task=2)
    assert (tmp_path / "again/centroids.safetensors").read_bytes() == bits
    killed_at = fit_killed_at(2, shards, tmp_path / "killed", config, monkeypatch)
    assert isinstance(killed_at, SeedingState)
    assert killed_at.num_rounds == 2
    assert (tmp_path / "killed/centroids.safetensors").read_bytes() == bits
    frames = all_frames(shards)
    alone = fit(frames, kmeans_plus_plus(frames, 40, seed=0), num_iterations=4)
    assert whole.fit.inertia[-1] == pytest.approx(alone.inertia, rel=0.1)

    batches = {"algorithm": "minibatch", "batch_frames": 60, "num_iterations": 30, "seeding": "kmeans++"}
    stepped = fit_codebook(shards, tmp_path / "steps", other_way(**batches))
    killed_at = fit_killed_at(3, shards, tmp_path / "steps-killed", other_way(**batches), monkeypatch)
    assert isinstance(killed_at, MinibatchState)
    for name in ("centroids.safetensors", "codebook.json"):
        assert (tmp_path / "steps-killed" / name).read_bytes() == (tmp_path / "steps" / name).read_bytes()
    assert stepped.fit.inertia[-1] == pytest.approx(alone.inertia, rel=0.1)
    assert 0 not in stepped.fit.usage
    for name in ("whole", "again", "killed", "steps", "steps-killed"):
        names = {path.name for path in (tmp_path / name).iterdir() if not path.name.startswith(".")}
        assert names == {"centroids.safetensors", "codebook.json", "done-kmeans.json"}


def test_what_a_killed_clean_up_left_is_removed(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(kmeans, "session", lambda: pytest.fail("a finished fit must not start a cluster"))
    codebook = Codebook(
        np.zeros((6, 12), np.float32),
        CONFIG.feature,
        100.0,
        FitRecord(parent="p", clustering=CONFIG.clustering, num_frames=1, inertia=(1.0,), usage=(1,) * 6),
    )
    codebook.save(tmp_path)
    mark_done(tmp_path, "kmeans", fingerprint=kmeans._fingerprint(shards, CONFIG), facts={})
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames/block-00000000.f32").write_bytes(b"left")
    fit_codebook(shards, tmp_path, CONFIG)
    assert not (tmp_path / "frames").exists()


def test_frames_of_another_fit_are_refused_and_not_mixed_in(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(kmeans, "session", nullcontext)
    (tmp_path / "frames").mkdir()
    write_json(tmp_path / "frames/frames.json", {"fingerprint": "other"})
    with pytest.raises(ResumeRefusedError, match="holds the frames of an unfinished fit with another feature"):
        fit_codebook(shards, tmp_path, CONFIG)


def test_a_disk_that_cannot_take_the_frames_is_noticed_before_any_is_made(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(kmeans, "session", nullcontext)
    monkeypatch.setattr("ray_musicssl.run_dir.shutil.disk_usage", lambda _: SimpleNamespace(free=27_000))
    with pytest.raises(EnvironmentFaultError, match=r"frames needs 0\.00 GB"):
        fit_codebook(shards, tmp_path, CONFIG)


def test_gpus_that_are_not_there_are_missed_before_a_cluster_starts(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(kmeans, "session", lambda: pytest.fail("no cluster is needed to see this"))
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match=r"clustering.gpus_per_task=0.5 but this machine has 0 GPUs; set .*=0"):
        fit_codebook(shards, tmp_path, other_way(gpus_per_task=0.5))


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_damaged_part_is_named_without_the_worker_s_traceback(shards, tmp_path):
    copy = Path(shutil.copytree(shards.path, tmp_path / "copy"))
    (copy / part_name(1)).write_bytes(b"torn")
    with pytest.raises(DataError) as raised:
        fit_codebook(open_shards(copy), tmp_path / "codebook", CONFIG)
    assert type(raised.value) is DataError
    assert str(raised.value).startswith(f"row group 0 of {copy / part_name(1)} cannot be read")


def test_fewer_frames_than_clusters_are_refused_before_a_cluster_starts(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(kmeans, "session", lambda: pytest.fail("no cluster is needed to see this"))
    config = KmeansConfig(feature=CONFIG.feature, clustering=ClusteringConfig(num_clusters=577))
    with pytest.raises(DataError, match=r"gives 576 mfcc frames \(12 clips, 6.0 s\).*num_clusters=577"):
        fit_codebook(shards, tmp_path, config)


def block_of(shards, feature, num_frames, *rows):
    """Rows of row group 1 of part 0, with their clips and no file."""
    places = {"parts": np.zeros(len(rows), int), "row_groups": np.ones(len(rows), int), "rows": np.array(rows)}
    return Block(
        number=0,
        num_frames=num_frames,
        files=BlockFiles(directory=shards.path / "nowhere", dim=12),
        recipe=Recipe(shards=shards, feature=feature),
        clips=ClipBlock(**places, num_frames=num_frames),
    )


def test_a_manifest_that_does_not_fit_the_audio_is_refused(shards):
    (frames,) = block_of(shards, CONFIG.feature, 48, 2).slabs(1000)
    assert frames.shape == (48, 12)
    with pytest.raises(DataError, match="give 60 frames give 48"):
        list(block_of(shards, CONFIG.feature, 60, 2).slabs(1000))


def hidden(encoder, layer=1):
    feature = HiddenConfig(encoder=str(encoder), layer=layer)
    return KmeansConfig(feature=feature, clustering=ClusteringConfig(num_clusters=5, num_iterations=3))


def test_a_worker_process_loads_an_encoder_once(shards, whole_run_dir, monkeypatch):
    feature = hidden_targets.resolve(hidden(whole_run_dir)).feature
    loads = []
    monkeypatch.setattr(
        hidden_targets, "load_encoder", lambda p, load=hidden_targets.load_encoder: loads.append(p) or load(p)
    )
    for row in range(3):
        frames = np.concatenate(
            list(block_of(shards, feature, 24, row).recipe.frames(block_of(shards, feature, 24, row).clips))
        )
        clip = pcm_views(pq.ParquetFile(shards.part_path(0)).read_row_group(1)["pcm"])[row]
        np.testing.assert_array_equal(frames, clip_frames(hidden_targets.load_feature(feature), clip))
    assert len(loads) == 1 + 3  # one by the tasks, three by this test


@pytest.mark.parametrize(
    ("encoder", "layer", "error", "message"),
    [
        ("", 1, ConfigError, "feature.encoder is not set"),
        ("gone", 1, DataError, "no encoder at gone"),
        ("RUN", 3, ConfigError, r"layer=3 does not exist; this encoder has layers 0..2"),
    ],
)
def test_a_wrong_encoder_is_refused_before_a_cluster_starts(
    shards, whole_run_dir, tmp_path, monkeypatch, encoder, layer, error, message
):
    monkeypatch.setattr(kmeans, "session", lambda: pytest.fail("no cluster is needed to see this"))
    with pytest.raises(error, match=message):
        fit_codebook(shards, tmp_path, hidden(encoder.replace("RUN", str(whole_run_dir)), layer))


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_hidden_frames_make_a_codebook_that_says_whose_they_are(shards, whole_run_dir, tmp_path, monkeypatch, tiny):
    moved = whole_run_dir / f"checkpoints/step-{tiny.num_steps:08d}"
    codebook = fit_codebook(shards, tmp_path / "book", hidden(whole_run_dir))
    feature = hidden_targets.load_feature(codebook.feature)
    tables = [pq.read_table(shards.part_path(part)) for part in shards.parts()]
    frames = np.concatenate([clip_frames(feature, pcm) for table in tables for pcm in pcm_views(table["pcm"])])
    alone = fit(frames, kmeans_plus_plus(frames, 5, seed=0), num_iterations=3)
    np.testing.assert_allclose(codebook.centroids, alone.centroids, rtol=1e-4, atol=1e-4)
    assert (codebook.dim, codebook.frame_rate, codebook.fit.num_frames) == (32, 50.0, 12 * 24)
    told = read_json(tmp_path / "book/codebook.json")["feature"]
    assert told == hidden_targets.resolve(hidden(whole_run_dir)).feature.model_dump()

    monkeypatch.setattr(kmeans, "session", lambda: pytest.fail("a finished fit must not start a cluster"))
    again = fit_codebook(shards, tmp_path / "book", hidden(moved))
    assert (again.hash, again.feature.encoder) == (codebook.hash, str(moved.resolve()))
    with pytest.raises(ResumeRefusedError, match="choose another --out"):
        fit_codebook(shards, tmp_path / "book", hidden(whole_run_dir / "checkpoints/step-00000005"))
