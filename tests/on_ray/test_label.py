import math
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from ray_musicssl.audio.shard import (
    LABEL_SCHEMA,
    part_name,
    pcm_views,
)
from ray_musicssl.clustering.codebook import load_codebook
from ray_musicssl.clustering.label_set import open_labels
from ray_musicssl.config.feature import HiddenConfig, MfccConfig, SemitoneConfig
from ray_musicssl.config.pretrain import KmeansConfig
from ray_musicssl.errors import ConfigError, DataError, ResumeRefusedError
from ray_musicssl.features.base import clip_frames, make_feature
from ray_musicssl.on_ray import label as stage
from ray_musicssl.on_ray.label import label
from ray_musicssl.probing.hidden_targets import load_feature, resolve
from ray_musicssl.run_dir import read_json, sha256_file


@pytest.fixture
def shards(twelve_clips):
    return twelve_clips


@pytest.fixture
def codebook(shards, make_codebook):
    return make_codebook(shards, MfccConfig(num_coefficients=4), 100.0)


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_labels_are_those_of_direct_assignment_row_by_row(shards, codebook, make_codebook, monkeypatch):
    (directory,) = label(shards, [codebook])
    assert directory == shards.labels_dir / codebook.hash
    feature, every_label = make_feature(codebook.feature), []
    for part in shards.parts():
        audio, labels = pq.ParquetFile(shards.part_path(part)), pq.ParquetFile(directory / part_name(part))
        assert labels.schema_arrow.equals(LABEL_SCHEMA)
        assert labels.num_row_groups == audio.num_row_groups == 2
        for group in range(2):
            clips, found = audio.read_row_group(group), labels.read_row_group(group)
            assert found["clip_id"].to_pylist() == clips["clip_id"].to_pylist()
            for pcm, given in zip(pcm_views(clips["pcm"]), found["labels"].to_pylist(), strict=True):
                frames = clip_frames(feature, pcm).astype(np.float64)
                distances = ((frames[:, None] - codebook.centroids) ** 2).sum(-1)
                assert given == distances.argmin(axis=1).tolist()
                every_label += given

    usage = np.bincount(every_label, minlength=5)
    shares = usage[usage > 0] / usage.sum()
    opened = open_labels(shards, None)
    assert (opened.codebook_hash, opened.num_clusters, opened.frame_rate) == (codebook.hash, 5, 100.0)
    assert opened.entropy_nats == pytest.approx(-(shares * np.log(shares)).sum())
    assert 0 < opened.entropy_nats <= math.log(5)
    facts = read_json(directory / "part-00001.json")
    assert facts["sha256"] == sha256_file(directory / part_name(1))
    assert facts["audio_sha256"] == sha256_file(shards.part_path(1))
    assert (
        np.array(facts["counts"]).sum() + np.array(read_json(directory / "part-00000.json")["counts"]).sum()
        == usage.sum()
    )
    assert load_codebook(directory).hash == codebook.hash

    # A second codebook finds its place beside the first.
    (other,) = label(shards, [make_codebook(shards, SemitoneConfig(num_semitones=12), 50.0)])
    assert open_labels(shards, other).frame_rate == 50.0
    assert open_labels(shards, directory).frame_rate == 100.0

    # A finished set is left alone.
    monkeypatch.setattr(stage, "run_tasks", lambda *_, **__: pytest.fail("everything is labelled already"))
    assert label(shards, [codebook]) == [directory]


@pytest.mark.usefixtures("in_process")
def test_a_killed_run_goes_on_where_it_was(shards, codebook, run_here, monkeypatch):
    def killed_after_one(function, items, **_):
        yield 0, function(items[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage, "run_tasks", killed_after_one)
        with pytest.raises(KeyboardInterrupt):
            label(shards, [codebook])
    directory = shards.labels_dir / codebook.hash
    first = (directory / part_name(0)).stat().st_mtime_ns
    with pytest.raises(DataError, match="no finished labels"):
        open_labels(shards, directory)

    seen = []
    monkeypatch.setattr(
        stage, "run_tasks", lambda f, items, **_: seen.extend(i.part for i in items) or run_here(f, items)
    )
    label(shards, [codebook])
    assert seen == [1]
    assert (directory / part_name(0)).stat().st_mtime_ns == first
    assert open_labels(shards, None).num_clusters == 5


@pytest.mark.usefixtures("in_process")
def test_what_killed_workers_left_half_written_goes(shards, codebook, run_here, monkeypatch):
    directory = shards.labels_dir / codebook.hash
    directory.mkdir(parents=True)
    (directory / ".part-00000.parquet.0123abcd.tmp").touch()  # of an earlier run

    def leaving(function, items, **_):
        assert not list(directory.glob(".part*.tmp"))
        (directory / ".part-00001.parquet.0123abcd.tmp").touch()  # of this one
        return run_here(function, items)

    monkeypatch.setattr(stage, "run_tasks", leaving)
    label(shards, [codebook])
    assert not list(directory.glob(".*.tmp"))


@pytest.mark.usefixtures("in_process")
def test_a_damaged_part_is_made_again(shards, codebook):
    (directory,) = label(shards, [codebook])
    good = (directory / part_name(1)).read_bytes()
    (directory / part_name(1)).write_bytes(good[:-1] + b"?")
    (directory / "done-label.json").unlink()
    label(shards, [codebook])
    assert (directory / part_name(1)).read_bytes() == good


@pytest.mark.usefixtures("in_process")
def test_shards_that_changed_are_refused(shards, codebook):
    label(shards, [codebook])
    with pytest.raises(ResumeRefusedError, match="the shards have changed since"):
        label(replace(shards, content_hash="thirteen"), [codebook])


def test_a_codebook_that_does_not_fit_its_feature_is_refused(shards, codebook):
    with pytest.raises(DataError, match=r"12 dimensions at 50.0 Hz, but its feature mfcc gives 12 at 100.0 Hz"):
        label(shards, [replace(codebook, frame_rate=50.0)])
    with pytest.raises(DataError, match=r"12 dimensions at 100.0 Hz, but its feature mfcc gives 39"):
        label(shards, [replace(codebook, feature=MfccConfig())])


@pytest.mark.usefixtures("in_process")
def test_labels_that_are_all_the_same_are_called_out(shards, codebook, caplog):
    far = codebook.centroids.copy()
    far[1:] = 1e6
    label(shards, [replace(codebook, centroids=far)])
    assert "same label" in caplog.text


@pytest.fixture
def hidden_codebook(shards, whole_run_dir, tmp_path, tiny, make_codebook):
    """Of layer 1 of an encoder that can be moved."""
    encoder = tmp_path / "encoder"
    shutil.copytree(whole_run_dir / f"checkpoints/step-{tiny.num_steps:08d}", encoder)
    config = resolve(KmeansConfig(feature=HiddenConfig(encoder=str(encoder), layer=1)))
    return make_codebook(shards, config.feature, 50.0)


@pytest.mark.usefixtures("in_process")
def test_hidden_frames_are_labelled_at_50_hz_and_say_whose_they_are(shards, hidden_codebook):
    (directory,) = label(shards, [hidden_codebook])
    frames = load_feature(hidden_codebook.feature)
    for part in shards.parts():
        clips = pcm_views(pq.read_table(shards.part_path(part))["pcm"])
        for pcm, given in zip(clips, pq.read_table(directory / part_name(part))["labels"].to_pylist(), strict=True):
            states = clip_frames(frames, pcm).astype(np.float64)
            assert given == ((states[:, None] - hidden_codebook.centroids) ** 2).sum(-1).argmin(axis=1).tolist()
    opened = open_labels(shards, None)
    assert (opened.frame_rate, opened.feature) == (50.0, hidden_codebook.feature)
    told = read_json(directory / "codebook.json")["feature"]
    assert told == hidden_codebook.feature.model_dump()
    assert len(told["encoder_hash"]) == 16


@pytest.mark.usefixtures("in_process")
def test_a_moved_encoder_is_named_and_gives_the_same_labels(shards, hidden_codebook, tmp_path, monkeypatch):
    (tmp_path / "encoder").rename(tmp_path / "moved")
    with monkeypatch.context() as patch:
        patch.setattr(stage, "session", lambda: pytest.fail("no cluster is needed to see this"))
        with pytest.raises(DataError, match=r"no encoder at .*encoder, .*`label`: --encoder RUN"):
            label(shards, [hidden_codebook])
    assert label(shards, [hidden_codebook], encoder=tmp_path / "moved")[0].name == hidden_codebook.hash
    # Once labelled, the encoder is needed no more.
    assert label(shards, [hidden_codebook])[0].name == hidden_codebook.hash


def test_an_encoder_with_other_weights_is_refused_before_a_cluster_starts(
    shards, hidden_codebook, whole_run_dir, monkeypatch
):
    monkeypatch.setattr(stage, "session", lambda: pytest.fail("no cluster is needed to see this"))
    with pytest.raises(DataError, match=f"is of the weights {hidden_codebook.feature.encoder_hash}"):
        label(shards, [hidden_codebook], encoder=whole_run_dir / "checkpoints/step-00000005")


def test_an_encoder_for_a_codebook_that_needs_none_is_refused(shards, codebook, tmp_path):
    with pytest.raises(ConfigError, match="of the feature mfcc, which needs no encoder; leave it out"):
        label(shards, [codebook], encoder=tmp_path)
