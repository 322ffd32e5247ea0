"""The command itself dies, by force or on request, and is typed again."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ray_musicssl.errors import StoppedError
from ray_musicssl.training.checkpoint import newest_checkpoint

ORPHANS_END_S = 60.0


def start(tiny, run_dir: Path, log_path: Path, *overrides: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "ray_musicssl.cli", "pretrain", tiny.preset]
    command += ["--shards", str(tiny.shards.path), "--run-dir", str(run_dir), *tiny.overrides, *overrides]
    with log_path.open("a") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def end_all(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Wait for processes to end by themselves; end those that do not, and give them."""
    _, alive = psutil.wait_procs(processes, timeout=ORPHANS_END_S)
    for process in alive:
        process.kill()
    return alive


@pytest.mark.ray
@pytest.mark.chaos
def test_a_command_that_is_killed_and_typed_again_ends_in_the_same_bytes(
    tiny, whole_run_dir, tmp_path, monkeypatch, wait_for_steps, assert_nothing_was_lost
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)  # each command has a cluster of its own
    run_dir, log_path = tmp_path / "run", tmp_path / "log.txt"
    first = start(tiny, run_dir, log_path, "scaling.num_workers=2")
    descendants: list[psutil.Process] = []
    try:
        wait_for_steps(run_dir, 7, give_up=lambda: first.poll() is not None)
        descendants = psutil.Process(first.pid).children(recursive=True)
    finally:
        first.kill()
        first.wait()
        survivors = end_all(descendants)
    killed_at = newest_checkpoint(run_dir / "checkpoints")
    assert len(descendants) > 2
    assert survivors == []
    assert killed_at is None or killed_at.step < tiny.num_steps, "it was killed too late to prove anything"
    assert not (run_dir / "done-pretrain.json").exists()

    second = start(tiny, run_dir, log_path, "scaling.num_workers=2")
    try:
        assert second.wait(300) == 0, log_path.read_text()
    finally:
        second.kill()
        second.wait()
    assert_nothing_was_lost(run_dir, newest_checkpoint(whole_run_dir / "checkpoints"))


@pytest.mark.chaos
def test_a_command_that_is_asked_to_stop_saves_where_it_is_and_goes_on_later(
    tiny, whole_run_dir, tmp_path, wait_for_steps, assert_nothing_was_lost
):
    run_dir, log_path = tmp_path / "run", tmp_path / "log.txt"
    command = start(tiny, run_dir, log_path, "training.checkpoint_every_steps=1000")
    try:
        wait_for_steps(run_dir, 3, give_up=lambda: command.poll() is not None)
        command.send_signal(signal.SIGTERM)
        assert command.wait(120) == StoppedError.exit_code, log_path.read_text()
    finally:
        command.kill()
        command.wait()
    assert "error: stopped; the same command goes on from" in log_path.read_text()
    assert "Traceback" not in log_path.read_text()
    stopped_at = newest_checkpoint(run_dir / "checkpoints")
    assert stopped_at is not None
    assert 3 <= stopped_at.step < tiny.num_steps
    assert not (run_dir / "stop-requested").exists()
    tiny.train(run_dir)
    assert_nothing_was_lost(run_dir, newest_checkpoint(whole_run_dir / "checkpoints"))
