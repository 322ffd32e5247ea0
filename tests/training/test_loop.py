"""Whole small runs in one process: the promises that make a resume exact."""

import json
import shutil

import pytest
import torch

from ray_musicssl.config.loading import load_config
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import ConfigError, DataError, DivergedError, ResumeRefusedError
from ray_musicssl.on_ray.pretrain import pretrain
from ray_musicssl.run_dir import RunDir
from ray_musicssl.training.checkpoint import newest_checkpoint, open_checkpoint
from ray_musicssl.training.label_choice import choose_labels
from ray_musicssl.training.metrics_log import read_metrics

pytestmark = pytest.mark.slow

SMALL = [
    *("encoder.num_layers=2", "encoder.dim=32", "encoder.ffn_dim=64", "encoder.num_heads=2", "encoder.conv_dim=16"),
    *("audio.crop_s=0.5", "audio.batch_s=4", "audio.micro_batch_s=1", "encoder.dropout=0.1", "encoder.layerdrop=0.3"),
    *("training.max_steps=12", "training.checkpoint_every_steps=4", "training.log_every_steps=2"),
    *("scaling.num_workers=0",),
]
TWO_SETS = ["feature.name=mfcc", "joint_features=[{name: semitone}]"]
OBJECTIVES = {
    "musichubert-demo": ["encoder.pos_conv_kernel=8", *TWO_SETS],
    "music2vec-demo": ["objective.top_k=2"],
}
LABELS = [
    {"feature": {"name": "mfcc", "num_coefficients": 13}, "frame_rate": 100.0, "num_clusters": 20},
    {
        "feature": {"name": "semitone", "lowest_midi": 33, "num_semitones": 60, "window_s": 0.256},
        "frame_rate": 50.0,
        "num_clusters": 20,
    },
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory, make_shards):
    return make_shards(tmp_path_factory.mktemp("loop") / "shards", seconds=[1.0] * 20, label_sets=LABELS)


def run(shards, path, preset="music2vec-demo", extra=(), **arguments):
    config = load_config(PretrainConfig, preset=preset, overrides=[*SMALL, *OBJECTIVES[preset], *extra])
    return pretrain(config, shards, RunDir(path), labels=choose_labels(config, shards), **arguments)


def scalars_of(run_dir):
    """The log without what depends on the clock."""
    return [
        {name: value for name, value in line.items() if not name.startswith(("sys/", "data/audio_s_per_s"))}
        for line in read_metrics(run_dir / "metrics.jsonl")
    ]


@pytest.mark.parametrize("preset", OBJECTIVES)
def test_a_run_that_lost_its_newest_checkpoint_ends_in_the_same_weights(shards, tmp_path, preset):
    whole = run(shards, tmp_path / "whole", preset)
    run(shards, tmp_path / "cut", preset)
    for name in ("checkpoints/step-00000012", "checkpoints/step-00000008"):
        shutil.rmtree(tmp_path / "cut" / name)
    (tmp_path / "cut" / "done-pretrain.json").unlink()
    assert newest_checkpoint(tmp_path / "cut/checkpoints").step == 4
    resumed = run(shards, tmp_path / "cut", preset)
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (whole.path / name).read_bytes() == (resumed.path / name).read_bytes()
    logs = [scalars_of(tmp_path / name) for name in ("whole", "cut")]
    assert logs[0] == logs[1]
    assert [line["step"] for line in logs[0]] == [2, 4, 6, 8, 10, 12]


def test_training_changes_the_weights_and_the_twin_with_another_seed_ends_elsewhere(shards, tmp_path):
    one = run(shards, tmp_path / "one")
    other = run(shards, tmp_path / "other", extra=["training.seed=7"])
    assert one.content_hash != other.content_hash
    first = open_checkpoint(tmp_path / "one/checkpoints/step-00000004")
    assert first.content_hash != one.content_hash


def test_smaller_micro_batches_change_only_rounding(shards, tmp_path):
    no_dropout = ["encoder.dropout=0", "encoder.layerdrop=0"]
    whole = run(shards, tmp_path / "a", extra=[*no_dropout, "audio.micro_batch_s=4"]).model_tensors()
    split = run(shards, tmp_path / "b", extra=[*no_dropout, "audio.micro_batch_s=0.5"]).model_tensors()
    for name, tensor in whole.items():
        torch.testing.assert_close(tensor, split[name], rtol=1e-3, atol=2e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_a_finished_run_is_left_alone(shards, tmp_path):
    first = run(shards, tmp_path / "run")
    before = (first.path / "manifest.json").stat().st_mtime_ns
    again = run(shards, tmp_path / "run")
    assert again.path == first.path
    assert (again.path / "manifest.json").stat().st_mtime_ns == before


def test_another_configuration_in_the_same_directory_is_refused_by_name(shards, tmp_path):
    run(shards, tmp_path / "run")
    with pytest.raises(
        ResumeRefusedError, match=r"optim.peak_lr \(0.001 -> 0.002\); use another --run-dir, or --fresh"
    ):
        run(shards, tmp_path / "run", extra=["optim.peak_lr=0.002"])
    changed = run(shards, tmp_path / "run", extra=["optim.peak_lr=0.002"], fresh=True)
    assert changed.config.optim.peak_lr == 0.002


def test_bookkeeping_may_change_on_a_resume(shards, tmp_path):
    run(shards, tmp_path / "run")
    run(shards, tmp_path / "run", extra=["training.log_every_steps=3", "training.keep_checkpoints=2"])


def test_a_run_goes_on_with_other_threads_aloud_and_a_finished_one_does_not_care(shards, tmp_path, caplog):
    two_threads = ["scaling.threads_per_worker=2"]
    last = run(shards, tmp_path / "run").path
    run(shards, tmp_path / "run", extra=two_threads)
    assert "goes on" not in caplog.text
    shutil.rmtree(last)
    run(shards, tmp_path / "run", extra=two_threads)
    assert "goes on with another scaling.threads_per_worker (1 -> 2)" in caplog.text


def test_a_damaged_checkpoint_is_passed_over_aloud(shards, tmp_path, caplog, damage_checkpoint):
    newest = run(shards, tmp_path / "run").path
    damage_checkpoint(newest)
    assert newest_checkpoint(tmp_path / "run/checkpoints").step == 8
    assert "model.safetensors is damaged" in caplog.text
    with pytest.raises(DataError, match=r"model.safetensors is damaged"):
        open_checkpoint(newest)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.safetensors", "state.json", "config.yaml", "manifest.json"]
)
def test_a_checkpoint_without_one_of_its_files_is_none(shards, tmp_path, name):
    checkpoint = run(shards, tmp_path / "run", extra=["training.max_steps=2"])
    (checkpoint.path / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        open_checkpoint(checkpoint.path)


def test_the_label_entropy_is_logged_beside_the_loss(shards, tmp_path):
    run(shards, tmp_path / "run", "musichubert-demo")
    line = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[0])
    assert line["pretrain/label_entropy"] == pytest.approx(2 * 2.995732, abs=1e-5)
    assert line["pretrain/masked_loss"] > 0


def test_gradients_that_stay_infinite_stop_the_run_with_the_steps_counted(shards, tmp_path):
    with pytest.raises(DivergedError, match=r"not finite in 3 steps in a row .*training.max_nonfinite_steps=2"):
        run(
            shards,
            tmp_path / "run",
            extra=["optim.peak_lr=1e30", "optim.clip_norm=0", "training.max_nonfinite_steps=2"],
        )


def test_a_run_whose_loss_stays_at_the_label_entropy_says_that_it_learned_nothing(shards, tmp_path, caplog):
    run(shards, tmp_path / "idle", "musichubert-demo", extra=["optim.peak_lr=1e-9"])
    assert "nothing was learned from context" in caplog.text
    caplog.clear()
    run(shards, tmp_path / "music2vec", "music2vec-demo")
    assert "nothing was learned" not in caplog.text


def test_a_feature_without_labels_says_which_commands_make_them(shards, tmp_path):
    with pytest.raises(ConfigError, match=r"no labels of the feature .*num_coefficients=20.*musicssl kmeans"):
        run(shards, tmp_path / "run", "musichubert-demo", extra=["feature.num_coefficients=20"])


def test_tensorboard_has_the_scalars(shards, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(shards, tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run/tb")).Reload()
    assert {"pretrain/loss", "optim/lr", "pretrain/target_std"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("pretrain/loss")] == [2, 4, 6, 8, 10, 12]
