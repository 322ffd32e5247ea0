"""Runs on Ray Train workers against the same run inside one process.

A step of the tiny run has four micro-batches, two for each of two workers; with `audio.micro_batch_s=2` it has two.
"""

import json
import shutil
from dataclasses import replace

import pytest

from ray_musicssl.audio.shard import open_shards
from ray_musicssl.errors import DataError, StoppedError
from ray_musicssl.on_ray import pretrain as stage
from ray_musicssl.on_ray.batches import StreamSpec
from ray_musicssl.run_dir import RunDir
from ray_musicssl.training.checkpoint import newest_checkpoint
from ray_musicssl.training.loop import Run
from ray_musicssl.training.metrics_log import read_metrics
from ray_musicssl.training.supervise import leave_failure, supervise

WEIGHTS = ("model.safetensors", "optimizer.safetensors")
# With one micro-batch a worker the reduction adds two numbers, which has one result: one process gives these bits too.
ALLREDUCE = ("training.reduce=allreduce", "audio.micro_batch_s=2", "training.max_steps=15")


def weights(checkpoint):
    return {name: (checkpoint.path / name).read_bytes() for name in WEIGHTS}


def losses(run_dir):
    return [(line["step"], line["pretrain/loss"], line["optim/lr"]) for line in read_metrics(run_dir / "metrics.jsonl")]


@pytest.mark.ray
def test_two_workers_that_add_in_order_end_in_the_bytes_of_one_process(tiny, whole_run_dir, tmp_path, cluster):
    together = tiny.train(tmp_path / "run", "scaling.num_workers=2")
    assert together.step == tiny.num_steps
    assert weights(together) == weights(newest_checkpoint(whole_run_dir / "checkpoints"))
    # The workers have received, in rank order, what the plan says: the loop stops on anything else.
    assert [step for step, _, _ in losses(tmp_path / "run")] == list(range(1, tiny.num_steps + 1))
    assert losses(tmp_path / "run") == losses(whole_run_dir)
    names = [path.name for path in sorted((tmp_path / "run/checkpoints").glob("step-*"))]
    assert names == [f"step-{step:08d}" for step in range(5, tiny.num_steps + 1, 5)]


@pytest.mark.ray
def test_a_run_that_lost_its_newest_checkpoints_goes_on_with_more_workers_to_the_same_bytes(
    tiny, tmp_path, cluster, damage_checkpoint
):
    whole = tiny.train(tmp_path / "whole", *ALLREDUCE)
    cut = RunDir(tmp_path / "cut")
    shutil.copytree(tmp_path / "whole", cut.path)
    (cut.path / "done-pretrain.json").unlink()
    damage_checkpoint(cut.checkpoints_dir / "step-00000010")
    shutil.rmtree(cut.checkpoints_dir / "step-00000015")
    # Ray's index as a kill in the middle of writing it leaves it: Ray would not start on this.
    cut.ray_index_path.write_text('{"ray_version": "2.60.0", "checkpoint_res')
    resumed = tiny.train(cut.path, *ALLREDUCE, "scaling.num_workers=2", "training.keep_checkpoints=2")
    assert resumed.step == 15
    assert weights(resumed) == weights(whole)
    assert losses(cut.path) == losses(tmp_path / "whole")
    names = sorted(path.name for path in cut.checkpoints_dir.glob("*step-*"))
    assert names == ["damaged-step-00000010", "step-00000010", "step-00000015"]
    assert json.loads(cut.ray_index_path.read_text()), "Ray keeps its index elsewhere: that file is to be removed too"


@pytest.mark.ray
def test_a_damaged_shard_ends_a_run_as_such_and_not_as_a_lost_worker(tiny, tmp_path, cluster):
    path = tmp_path / "shards"
    shutil.copytree(tiny.shards.path, path)
    part = path / "part-00001.parquet"
    data = part.read_bytes()
    part.write_bytes(data[:4] + bytes(200_000) + data[200_004:])  # its footer, and so the list of its rows, is whole
    broken = replace(tiny, shards=open_shards(path))
    with pytest.raises(
        DataError, match=r"(?s)^row group 0 of .*part-00001\.parquet cannot be read .*; make the shards again$"
    ):
        broken.train(tmp_path / "run", "scaling.num_workers=2")


def test_workers_that_start_again_after_such_an_error_do_nothing(tiny, tmp_path):
    config = tiny.config("scaling.num_workers=2")
    run = Run(config=config, run_dir=RunDir(tmp_path), num_labels=[], label_entropy=0.0, provenance={})
    job = stage._Job(run=run, spec=StreamSpec.of(config, tiny.shards, [], 2))
    leave_failure(run, DataError("a shard is damaged"))
    stage._worker({"job": job})  # without Ray it could do nothing else


def test_an_error_that_a_worker_left_reaches_the_caller_under_its_name(tiny, tmp_path):
    config = tiny.config("training.max_steps=3")
    run = Run(config=config, run_dir=RunDir(tmp_path), num_labels=[], label_entropy=0.0, provenance={})

    def fit():
        leave_failure(run, DataError("a shard is damaged"))
        raise RuntimeError("worker 0 has ended")

    with pytest.raises(DataError, match="a shard is damaged"):
        supervise(run, fit)


def test_another_seed_ends_in_other_bytes(tiny, tmp_path):
    """The twin of the equalities above: they can fail."""
    few = "training.max_steps=2"
    one, other = (tiny.train(tmp_path / str(seed), few, f"training.seed={seed}") for seed in (1, 2))
    assert weights(one)["model.safetensors"] != weights(other)["model.safetensors"]


def test_a_stop_request_left_by_an_earlier_run_stops_nothing(tiny, tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "stop-requested").touch()
    assert tiny.train(run_dir, "training.max_steps=2").step == 2
    assert not (run_dir / "stop-requested").exists()


def test_what_a_killed_run_left_half_copied_is_removed_before_it_goes_on(tiny, tmp_path):
    run_dir = tmp_path / "run"
    tiny.train(run_dir, "training.max_steps=2")
    (run_dir / "done-pretrain.json").unlink()
    torn, temporary = run_dir / "checkpoints/step-00000009", run_dir / ".checkpoint-abc"
    for directory in (torn, temporary):
        directory.mkdir()
        (directory / "model.safetensors").write_bytes(b"half")
    assert tiny.train(run_dir, "training.max_steps=2").step == 2
    assert not torn.exists()
    assert not temporary.exists()


def test_a_finished_run_says_what_it_was_trained_on(tiny, whole_run_dir):
    marker = json.loads((whole_run_dir / "done-pretrain.json").read_text())
    assert marker["provenance"] == {"shards": tiny.shards.content_hash, "labels": []}
    assert marker["checkpoint"] == f"step-{tiny.num_steps:08d}"
    assert marker["step"] == tiny.num_steps


def test_stopping_after_the_last_step_is_no_stop(tiny, tmp_path):
    tiny.train(tmp_path / "run", "training.max_steps=2")

    def supervised(max_steps):
        config = tiny.config(f"training.max_steps={max_steps}")
        run = Run(config=config, run_dir=RunDir(tmp_path / "run"), num_labels=[], label_entropy=0.0, provenance={})
        supervise(run, run.stop_path.touch)

    supervised(2)
    with pytest.raises(StoppedError, match="the same command goes on from"):
        supervised(3)
