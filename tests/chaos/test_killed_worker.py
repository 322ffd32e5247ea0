"""A worker that dies in the middle of a run."""

import threading

import pytest

from ray_musicssl.training.checkpoint import newest_checkpoint

# With one micro-batch a worker the reduction adds two numbers, which has one result: one process gives these bits too.
ALLREDUCE = ("training.reduce=allreduce", "audio.micro_batch_s=2")


@pytest.mark.ray
@pytest.mark.chaos
@pytest.mark.usefixtures("cluster")
def test_a_run_whose_worker_is_killed_ends_in_the_same_bytes(
    tiny, tmp_path, train_workers, wait_for_steps, assert_nothing_was_lost
):
    expected = tiny.train(tmp_path / "whole", *ALLREDUCE)
    run_dir, ended = tmp_path / "run", []
    thread = threading.Thread(
        target=lambda: ended.append(tiny.train(run_dir, *ALLREDUCE, "scaling.num_workers=2")), daemon=True
    )
    thread.start()
    wait_for_steps(run_dir, 7, has_ended=lambda: not thread.is_alive())
    workers = train_workers()
    workers[-1].kill()
    killed_at = newest_checkpoint(run_dir / "checkpoints")
    assert len(workers) == 2
    assert killed_at is None or killed_at.step < tiny.num_steps, "it was killed too late to prove anything"
    thread.join(300)
    assert ended, "the run did not survive its worker"
    assert_nothing_was_lost(run_dir, expected)
