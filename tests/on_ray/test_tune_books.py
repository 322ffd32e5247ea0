"""The books of a sweep, without a cluster: what a trial is said to have come to when its wave has ended."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ray_musicssl.errors import StoppedError
from ray_musicssl.on_ray import tune as stage
from ray_musicssl.on_ray.sweep import Sweep
from ray_musicssl.on_ray.wave import ended_well
from ray_musicssl.search_space.space import load_space
from ray_musicssl.sweep_dir import SweepDir

SPACE = """\
about: x
preset: music2vec-demo
tasks: [gtzan_genre]
overrides: {scaling.num_workers: 2, scaling.use_gpu: false}
variants: {a: {}, b: {optim.peak_lr: 1.0e-12}}
"""
ASHA = "scheduler: asha\n"


@pytest.fixture
def planned(tiny, tmp_path):
    """Plans the two trials: `planned(lines)`."""

    def plan(lines="", *, data=None):
        path = tmp_path / "few.yaml"
        path.write_text(SPACE + lines)
        return Sweep.planned(load_space(path), SweepDir(tmp_path / "sweep"), tiny.shards, data)

    return plan


def running(sweep, name, *, trained_s=0.0):
    sweep.keep(replace(sweep.record(name), status="running", stage="pretrain", wall_s=5.0))
    line = {"step": 3, "sys/elapsed_s": trained_s}
    sweep.dir.run_dir(name).metrics_path.write_text(json.dumps(line) + "\n")


def result(name, error=None):
    return SimpleNamespace(config=name and {"trial": name}, error=error)


def well(*results):
    return ended_well(results, lambda config: config["trial"])


def test_under_a_scheduler_only_a_trial_without_a_fault_was_ended_by_it(planned):
    sweep = planned(ASHA)
    for name in ("a", "b"):
        running(sweep, name)
    stage._close(sweep, well(result("a", RuntimeError("the actor died")), result("b")))
    a, b = sweep.records()
    assert (a.status, a.error, a.stage) == ("failed", "EnvironmentFaultError", "")
    assert (b.status, b.reason, b.stage) == ("stopped", "ended early by the scheduler asha", "")
    assert [trial.name for trial in sweep.left(sweep.space.trials)] == ["a"]


@pytest.mark.parametrize(
    ("lines", "ended"),
    [
        ("", well(result("a"))),  # nobody ends trials early here
        (ASHA, well(result(None))),  # it never reported, so no scheduler has seen it
        (ASHA, well()),  # Tune itself has ended
    ],
)
def test_a_trial_that_nobody_ended_was_lost(planned, lines, ended):
    sweep = planned(lines)
    running(sweep, "a")
    stage._close(sweep, ended)
    assert [record.status for record in sweep.records()] == ["failed", "pending"]


def test_a_trial_that_was_begun_again_after_a_request_to_stop_waits(planned):
    sweep = planned(ASHA)
    running(sweep, "a")
    sweep.dir.stop_path.touch()
    stage._close(sweep, well(result("a")))
    assert sweep.record("a").status == "pending"


def test_a_trial_that_was_ended_early_has_cost_what_its_workers_held(planned):
    sweep = planned(ASHA)
    running(sweep, "a", trained_s=7200.0)
    stage._close(sweep, well(result("a")))
    record = sweep.record("a")
    assert (record.cpu_hours, record.gpu_hours, record.wall_s) == (2 * 2 * 0.5, 0.0, 7200.0)


@pytest.mark.parametrize("status", ["pending", "running"])
def test_a_sweep_of_which_something_is_left_never_ends_as_if_it_were_done(planned, status):
    sweep = planned()
    a, b = sweep.records()
    with pytest.raises(StoppedError, match=rf"1 of 2 trials have not ended: b \({status}\); the same command goes on"):
        stage._judge_end([replace(a, status="done"), replace(b, status=status)])
    stage._judge_end([replace(a, status="done"), replace(b, status="stopped")])


def test_no_old_run_comes_back_when_a_fresh_start_is_killed(planned, monkeypatch):
    sweep = planned()
    weights = sweep.dir.run_dir("a").path / "checkpoints"
    weights.mkdir()
    lost = sweep.dir.path / "runs/old/checkpoints"  # a run whose record is gone
    lost.mkdir(parents=True)
    with monkeypatch.context() as patched:
        patched.setattr("ray_musicssl.sweep_dir.shutil.rmtree", interrupt)
        with pytest.raises(KeyboardInterrupt):
            stage._remove_trials(sweep.dir)
    assert not (sweep.dir.path / "runs").exists()
    assert not sweep.dir.facts_path.exists()
    sweep.dir.clear_removed()
    assert sorted(path.name for path in sweep.dir.path.iterdir()) == ["space.yaml"]


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_a_trial_that_is_probed_when_a_sweep_is_stopped_waits_for_the_next_call(planned):
    sweep = planned()
    running(sweep, "a")
    sweep.keep(replace(sweep.record("a"), stage="probe"))

    class Working:
        well = frozenset()

        def start(self):
            sweep.dir.stop_path.touch()

        def is_alive(self):
            return True

        def join(self, timeout):
            pass

    with pytest.raises(StoppedError, match="the same command goes on"):
        stage._follow(Working(), sweep)
    record = sweep.record("a")
    assert (record.status, record.stage, record.reason) == ("pending", "", "stopped on request")
