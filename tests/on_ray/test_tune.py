"""Small sweeps on a real cluster: what runs, what does not run again, and what fails alone."""

import json
from pathlib import Path

import pytest

from ray_musicssl.config.loading import read_run_config
from ray_musicssl.errors import DataError, ResumeRefusedError
from ray_musicssl.on_ray.tune import tune
from ray_musicssl.search_space.space import load_space
from ray_musicssl.sweep_dir import SweepDir, read_record

pytestmark = [pytest.mark.ray, pytest.mark.slow]
PROBE = "tasks: [gtzan_genre]\nprobe: {num_seeds: 1, max_epochs: 2, hidden_dim: 8}\n"


@pytest.fixture
def write_space(tiny, tmp_path):
    """Writes the search space of a few tiny runs: `write_space({"a": {...}, "b": {...}})`."""

    def write(variants, *, more="", steps=6):
        settings = dict(word.split("=", 1) for word in tiny.overrides)
        settings |= {"training.max_steps": steps, "training.checkpoint_every_steps": 3, "scaling.num_workers": 0}
        lines = [f"  {key}: {value}" for key, value in settings.items()]
        rows = [f"  {name}: {json.dumps(own)}" for name, own in variants.items()]
        path = tmp_path / "few.yaml"
        named = ["variants:", *rows] if rows else []
        text = ["about: tiny runs", f"preset: {tiny.preset}", "overrides:", *lines, *named, PROBE, more]
        path.write_text("\n".join(text))
        return path

    return write


def marks(run_dir: Path) -> dict[str, tuple[float, list[str]]]:
    """What each trial's process adds to whenever it begins: its minutes, and TensorBoard's files."""
    return {
        path.parent.name: (read_record(path).wall_s, sorted(file.name for file in path.parent.glob("tb/events*")))
        for path in run_dir.glob("runs/*/trial.json")
    }


def test_a_sweep_ends_with_all_trials_done_runs_nothing_again_and_only_a_variant_that_is_added(
    tiny, write_space, gtzan_dir, tmp_path, cluster
):
    run_dir = tmp_path / "sweep"
    sweep = SweepDir(run_dir)
    places = {"run_dir": run_dir, "shards": tiny.shards.path, "data": gtzan_dir}
    variants = {"base": {}, "span5": {"masking.mask_length": 5, "scaling.num_workers": 1}}
    assert tune(load_space(write_space(variants)), **places) == run_dir.resolve() / "report.html"
    records = {name: sweep.record(name) for name in variants}
    assert [record.status for record in records.values()] == ["done", "done"]
    assert [record.settings["masking.mask_length"] for record in records.values()] == [3, 5]
    for name, record in records.items():
        (accuracy,) = json.loads((run_dir / f"runs/{name}/scores/gtzan_genre.json").read_text())["metrics"].values()
        assert record.score == accuracy["mean"]
        assert record.cpu_hours > 0
        assert len(list((run_dir / f"runs/{name}/tb").glob("events*"))) >= 2
    before = marks(run_dir)
    assert set(before) == set(variants)

    tune(load_space(write_space(variants)), **places)
    assert marks(run_dir) == before
    tune(load_space(write_space(variants | {"prob5": {"masking.mask_prob": 0.5}})), **places)
    after = marks(run_dir)
    assert {name: after[name] for name in variants} == before
    assert set(after) == {*variants, "prob5"}
    with pytest.raises(ResumeRefusedError, match=r"another trial of the name span5 .*mask_length"):
        tune(load_space(write_space(variants | {"span5": {"masking.mask_length": 4}})), **places)


def test_a_trial_that_cannot_be_trained_fails_alone_with_its_reason(
    tiny, write_space, gtzan_dir, tmp_path, cluster, caplog
):
    run_dir = tmp_path / "sweep"
    variants = {"long": {"audio.crop_s": 4.0, "audio.micro_batch_s": 4.0}, "good": {}}
    tune(load_space(write_space(variants)), run_dir=run_dir, shards=tiny.shards.path, data=gtzan_dir)
    long, good = (SweepDir(run_dir).record(name) for name in variants)
    assert (long.status, good.status) == ("failed", "done")
    assert "4.0 s" in long.reason
    assert "1 of 2 trials failed: long" in caplog.text
    with pytest.raises(DataError, match="all 1 trials failed"):
        tune(load_space(write_space({"long": variants["long"]})), run_dir=run_dir, shards=tiny.shards.path)


@pytest.mark.parametrize(
    ("scheduler", "num_good"),
    [
        ("{name: asha, grace_fraction: 0.005, reduction_factor: 2}", 1),
        ("{name: median, grace_fraction: 0.005}", 3),  # Ray's rule needs the means of three others
    ],
    ids=["asha", "median"],
)
def test_a_scheduler_ends_a_trial_that_does_badly_and_it_is_not_begun_again(
    tiny, write_space, tmp_path, cluster, scheduler, num_good
):
    run_dir = tmp_path / "sweep"
    # Two CPUs each, so one after the other: the bad one is held against the others at its tenth step.
    alone = {"scaling.threads_per_worker": 4}
    variants = {
        f"good{number}": {"optim.peak_lr": 1e-3 + number * 1e-4, "training.max_steps": 40, **alone}
        for number in range(num_good)
    } | {"bad": {"optim.peak_lr": 1e-12, "training.max_steps": 2000, "training.checkpoint_every_steps": 2000, **alone}}
    space = write_space(variants, more=f"scheduler: {scheduler}")
    for _ in range(2):
        tune(load_space(space), run_dir=run_dir, shards=tiny.shards.path)
        records = {name: SweepDir(run_dir).record(name) for name in variants}
        assert {name: record.status for name, record in records.items() if name != "bad"} == dict.fromkeys(
            list(variants)[:-1], "done"
        )
        assert records["bad"].status == "stopped"
        assert records["bad"].reason == f"ended early by the scheduler {scheduler[7:].split(',')[0]}"
    steps = [int(json.loads(line)["step"]) for line in (run_dir / "runs/bad/metrics.jsonl").read_text().splitlines()]
    assert 10 <= steps[-1] < 2000


def test_optuna_chooses_points_inside_the_axis_and_a_further_sample_runs_only_that_one(
    tiny, write_space, gtzan_dir, tmp_path, cluster
):
    run_dir = tmp_path / "sweep"
    places = {"run_dir": run_dir, "shards": tiny.shards.path, "data": gtzan_dir}
    axis = "search: optuna\naxes: {optim.weight_decay: {loguniform: [1.0e-4, 1.0e-2]}}\n"
    tune(load_space(write_space({}, more=f"{axis}samples: 2")), **places)
    before = marks(run_dir)
    tune(load_space(write_space({}, more=f"{axis}samples: 3")), **places)
    after = marks(run_dir)
    assert (len(before), len(after)) == (2, 3)
    assert {name: after[name] for name in before} == before
    records = [SweepDir(run_dir).record(name) for name in after]
    assert {record.status for record in records} == {"done"}
    decays = {record.settings["optim.weight_decay"] for record in records}
    assert len(decays) == 3
    assert all(1e-4 <= decay <= 1e-2 for decay in decays)
    for record in records:
        trained = read_run_config(SweepDir(run_dir).run_dir(record.name).path)
        assert trained.optim.weight_decay == record.settings["optim.weight_decay"]
