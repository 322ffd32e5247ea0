"""What the chaos tests share: watching a run's progress, and what must be true of a run that survived."""

import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ray_musicssl.training.checkpoint import Checkpoint, newest_checkpoint, open_checkpoint
from ray_musicssl.training.metrics_log import read_metrics
from ray_musicssl.training.plan import SamplePlan

DEADLINE_S = 240.0
POLL_S = 0.01


@pytest.fixture
def wait_for_steps() -> Callable[..., None]:
    """Wait until a run has logged so many steps: `wait_for_steps(run_dir, 7, has_ended=...)`.

    A deadline that is missed, or a run that ends before, fails the test.
    """

    def wait(run_dir: Path, steps: int, *, has_ended: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while len(logged_steps(run_dir)) < steps:
            if has_ended() or time.monotonic() > deadline:
                pytest.fail(f"step {steps} of {run_dir} was never logged")
            time.sleep(POLL_S)

    return wait


def logged_steps(run_dir: Path) -> list[int]:
    return [int(line["step"]) for line in read_metrics(run_dir / "metrics.jsonl")]


@pytest.fixture
def assert_nothing_was_lost(tiny) -> Callable[[Path, Checkpoint], None]:
    """Check a run that was killed and went on against one that was not.

    Every clip was used exactly once an epoch, because: the run took all its steps (each is logged once), the loop stops on
    any step whose positions are not the plan's, and the plan's positions of these steps are every clip once an epoch.
    """

    def check(run_dir: Path, expected: Checkpoint) -> None:
        ended = newest_checkpoint(run_dir / "checkpoints")
        assert ended is not None
        config = ended.config
        num_steps = config.training.max_steps
        assert ended.step == num_steps
        for name in ("model.safetensors", "optimizer.safetensors"):
            assert (ended.path / name).read_bytes() == (expected.path / name).read_bytes(), name
        assert logged_steps(run_dir) == list(range(1, num_steps + 1))
        for directory in (run_dir / "checkpoints").glob("step-*"):
            open_checkpoint(directory)  # none is torn
        plan = SamplePlan(
            tiny.shards.manifest(), longest_crop_samples=config.audio.longest_crop_samples, seed=config.training.seed
        )
        num_epochs, rest = divmod(num_steps * config.audio.batch_clips, plan.num_clips)
        assert (plan.num_clips, rest) == (tiny.clips_per_epoch, 0)
        for epoch in range(num_epochs):
            clips = plan.entries(epoch * plan.num_clips, (epoch + 1) * plan.num_clips).clip
            assert sorted(clips) == list(range(plan.num_clips))

    return check


@pytest.fixture
def train_workers() -> Callable[[], list[psutil.Process]]:
    """The Ray Train workers among this process's descendants: those of the cluster that these tests started."""

    def find() -> list[psutil.Process]:
        found = []
        for process in psutil.Process().children(recursive=True):
            try:
                if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::RayTrainWorker"):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    return find
