"""A sweep whose command is killed between two trials, or asked to stop in the middle of one, and typed again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ray_musicssl.errors import StoppedError
from ray_musicssl.sweep_dir import SweepDir
from ray_musicssl.training.checkpoint import newest_checkpoint

DEADLINE_S = 240.0


def command(space: Path, tiny, run_dir: Path, log_path: Path) -> subprocess.Popen:
    words = [sys.executable, "-m", "ray_musicssl.cli", "tune", str(space)]
    words += ["--shards", str(tiny.shards.path), "--run-dir", str(run_dir)]
    variables = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with log_path.open("a") as log:
        return subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env=variables)


def write_space(path: Path, tiny, variants: str) -> Path:
    words = [f"  {word.replace('=', ': ', 1)}" for word in tiny.overrides]
    lines = ["about: tiny", f"preset: {tiny.preset}", "overrides:", *words]
    path.write_text("\n".join([*lines, f"variants: {variants}"]))
    return path


def begun(sweep: SweepDir, name: str) -> tuple[float, list[str]]:
    """What a trial's process adds to whenever it begins: its minutes, and TensorBoard's files."""
    return sweep.record(name).wall_s, sorted(path.name for path in sweep.run_dir(name).tensorboard_dir.glob("events*"))


def end(commands: list[subprocess.Popen], descendants: list[psutil.Process]) -> None:
    for process in descendants:
        if process.is_running():
            process.kill()
    for process in commands:
        process.kill()
        process.wait()


@pytest.mark.ray
@pytest.mark.chaos
def test_a_killed_sweep_typed_again_completes_without_running_the_first_trial_again(tiny, whole_run_dir, tmp_path):
    run_dir, log_path = tmp_path / "sweep", tmp_path / "log.txt"
    # The second asks for two whole CPUs, so that there is no room for it beside the first.
    second_trial = "{training.seed: 7, training.max_steps: 10, scaling.threads_per_worker: 4}"
    space = write_space(tmp_path / "two.yaml", tiny, f"{{a: {{}}, b: {second_trial}}}")
    sweep = SweepDir(run_dir)
    commands, descendants = [command(space, tiny, run_dir, log_path)], []
    try:
        deadline = time.monotonic() + DEADLINE_S
        while not ((record := sweep.record("a")) and record.status == "done"):
            assert commands[0].poll() is None, log_path.read_text()
            assert time.monotonic() < deadline, log_path.read_text()
            time.sleep(0.05)
        descendants = psutil.Process(commands[0].pid).children(recursive=True)
        commands[0].kill()
        commands[0].wait()
        steps = newest_checkpoint(sweep.run_dir("b").checkpoints_dir)
        assert steps is None or steps.step < 10, "it was killed too late to prove anything"
        before = {path: path.stat().st_mtime_ns for path in sweep.run_dir("a").checkpoints_dir.rglob("*")}
        begun_before = begun(sweep, "a")
        # Typed again at once, while processes of the first are still ending.
        commands.append(command(space, tiny, run_dir, log_path))
        assert commands[1].wait(DEADLINE_S) == 0, log_path.read_text()
    finally:
        end(commands, descendants)
    assert [sweep.record(name).status for name in ("a", "b")] == ["done", "done"]
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before
    assert begun(sweep, "a") == begun_before
    ended = newest_checkpoint(sweep.run_dir("a").checkpoints_dir)
    whole = newest_checkpoint(whole_run_dir / "checkpoints")
    assert (ended.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()
    assert newest_checkpoint(sweep.run_dir("b").checkpoints_dir).step == 10
    assert (run_dir / "report.html").exists()


@pytest.mark.ray
@pytest.mark.chaos
def test_a_sweep_that_is_asked_to_stop_saves_its_trial_and_goes_on_from_there(
    tiny, whole_run_dir, tmp_path, wait_for_steps
):
    run_dir, log_path = tmp_path / "sweep", tmp_path / "log.txt"
    space = write_space(tmp_path / "one.yaml", tiny, "{a: {training.checkpoint_every_steps: 1000}}")
    sweep = SweepDir(run_dir)
    commands, descendants = [command(space, tiny, run_dir, log_path)], []
    try:
        wait_for_steps(sweep.run_dir("a").path, 3, has_ended=lambda: commands[0].poll() is not None)
        descendants = psutil.Process(commands[0].pid).children(recursive=True)
        commands[0].send_signal(signal.SIGTERM)
        assert commands[0].wait(DEADLINE_S) == StoppedError.exit_code, log_path.read_text()
        assert "stopped; the same command goes on from" in log_path.read_text()
        stopped_at = newest_checkpoint(sweep.run_dir("a").checkpoints_dir)
        assert stopped_at is not None
        assert 3 <= stopped_at.step < tiny.num_steps
        commands.append(command(space, tiny, run_dir, log_path))
        assert commands[1].wait(DEADLINE_S) == 0, log_path.read_text()
    finally:
        end(commands, descendants)
    assert sweep.record("a").status == "done"
    ended, whole = (newest_checkpoint(path / "checkpoints") for path in (sweep.run_dir("a").path, whole_run_dir))
    assert (ended.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()
