"""The process of a trial dies while it trains; the sweep begins the trial again, from its checkpoint."""

import threading
import time

import psutil
import pytest

from ray_musicssl.on_ray.tune import tune
from ray_musicssl.search_space.space import load_space
from ray_musicssl.sweep_dir import SweepDir
from ray_musicssl.training.checkpoint import newest_checkpoint

DEADLINE_S = 240.0


def trial_processes():
    """Those of Tune's trials among this process's descendants."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::ImplicitFunc"):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.ray
@pytest.mark.chaos
def test_a_trial_whose_process_is_killed_goes_on_and_ends_in_the_same_bytes(tiny, whole_run_dir, tmp_path, cluster):
    space, sweep = tmp_path / "one.yaml", SweepDir(tmp_path / "sweep")
    settings = [f"  {word.replace('=', ': ', 1)}" for word in tiny.overrides]
    space.write_text("\n".join(["about: one", f"preset: {tiny.preset}", "overrides:", *settings, "variants: {a: {}}"]))
    killed = []

    def kill_after_a_checkpoint():
        deadline = time.monotonic() + DEADLINE_S
        directory = sweep.run_dir("a").checkpoints_dir
        while not killed and time.monotonic() < deadline:
            checkpoint = newest_checkpoint(directory) if directory.exists() else None
            for process in trial_processes() if checkpoint else ():
                process.kill()
                killed.append(checkpoint.step)
            time.sleep(0.01)

    killer = threading.Thread(target=kill_after_a_checkpoint, daemon=True)
    killer.start()
    tune(load_space(space), run_dir=sweep.path, shards=tiny.shards.path)
    killer.join()
    assert killed
    assert killed[0] < tiny.num_steps, "it was killed too late to prove anything"
    assert sweep.record("a").status == "done"
    ended, whole = (newest_checkpoint(path / "checkpoints") for path in (sweep.run_dir("a").path, whole_run_dir))
    assert (ended.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()
