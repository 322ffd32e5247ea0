"""The command itself dies, by force or on request, and is typed again."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from ray_musicssl.errors import StoppedError
from ray_musicssl.training.checkpoint import newest_checkpoint

ORPHANS_END_S = 60.0


def start(tiny, run_dir: Path, log_path: Path, *overrides: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "ray_musicssl.cli", "pretrain", tiny.preset]
    command += ["--shards", str(tiny.shards.path), "--run-dir", str(run_dir), *tiny.overrides, *overrides]
    # Each command has a cluster of its own.
    variables = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with log_path.open("a") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=variables)


def end_orphans(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Wait for what a killed command left; give what had to be ended."""
    # Ray's own agents hold nothing of a run; for a minute they go on trying to tell the cluster that it is dead.
    agents = [process for process in processes if _name(process).startswith(("ray::Dashboard", "ray::RuntimeEnv"))]
    _, alive = psutil.wait_procs([process for process in processes if process not in agents], timeout=ORPHANS_END_S)
    for process in (*agents, *alive):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs([*agents, *alive], timeout=10)
    return alive


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def steps_saved(run_dir: Path) -> int:
    checkpoint = newest_checkpoint(run_dir / "checkpoints")
    return checkpoint.step if checkpoint else 0


@pytest.mark.ray
@pytest.mark.chaos
def test_a_command_that_is_killed_typed_again_at_once_and_asked_to_stop_ends_in_the_same_bytes(
    tiny, whole_run_dir, tmp_path, wait_for_steps, assert_nothing_was_lost
):
    run_dir, log_path = tmp_path / "run", tmp_path / "log.txt"
    # A checkpoint a step slows the run down, so that it is still far from its end when its processes notice the death.
    words = ("scaling.num_workers=2", "training.checkpoint_every_steps=1")
    commands, descendants = [start(tiny, run_dir, log_path, *words)], []
    try:
        wait_for_steps(run_dir, 3, has_ended=lambda: commands[0].poll() is not None)
        descendants = psutil.Process(commands[0].pid).children(recursive=True)
        commands[0].kill()
        commands[0].wait()
        # What the first left is still ending while the second begins.
        commands.append(start(tiny, run_dir, log_path, *words))
        survivors = end_orphans(descendants)
        killed_at = steps_saved(run_dir)
        wait_for_steps(run_dir, killed_at + 2, has_ended=lambda: commands[1].poll() is not None)
        commands[1].send_signal(signal.SIGTERM)
        assert commands[1].wait(120) == StoppedError.exit_code, log_path.read_text()
    finally:
        for command in commands:
            command.kill()
            command.wait()
        end_orphans(descendants)
    assert len(descendants) > 2
    assert survivors == []
    assert 0 < killed_at < steps_saved(run_dir) < tiny.num_steps, "it was ended too late to prove anything"
    assert "error: stopped; the same command goes on from" in log_path.read_text()
    assert not (run_dir / "done-pretrain.json").exists()
    tiny.train(run_dir)
    assert_nothing_was_lost(run_dir, newest_checkpoint(whole_run_dir / "checkpoints"))


@pytest.mark.chaos
def test_a_command_that_is_asked_to_stop_saves_where_it_is_and_goes_on_later(
    tiny, whole_run_dir, tmp_path, wait_for_steps, assert_nothing_was_lost
):
    run_dir, log_path = tmp_path / "run", tmp_path / "log.txt"
    command = start(tiny, run_dir, log_path, "training.checkpoint_every_steps=1000")
    try:
        wait_for_steps(run_dir, 3, has_ended=lambda: command.poll() is not None)
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
