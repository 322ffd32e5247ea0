"""What trials are given before they begin, with stand-ins for the stages that make it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ray_musicssl.config.scaling import ScalingConfig
from ray_musicssl.errors import DataError
from ray_musicssl.on_ray import room, run_targets
from ray_musicssl.on_ray import sweep as module
from ray_musicssl.on_ray.sweep import Sweep
from ray_musicssl.search_space.space import load_space
from ray_musicssl.sweep_dir import SweepDir

SPACE = """\
about: x
preset: musichubert-demo
tasks: [gtzan_genre]
variants:
  a: {}
  span5: {masking.mask_length: 5}
  k25: {clustering.num_clusters: 25}
  iter2: {after: a, feature.name: hidden, feature.layer: 2}
"""


@pytest.fixture
def sweep(tiny, tmp_path):
    path = tmp_path / "few.yaml"
    path.write_text(SPACE)
    return Sweep.planned(load_space(path), SweepDir(tmp_path / "sweep"), tiny.shards, None)


@pytest.fixture
def calls(monkeypatch):
    """What the stages were called with; a codebook's hash is its directory's name."""
    noted = SimpleNamespace(fitted=[], labelled=[], broken=set())

    def fit_codebook(shards, out, config):
        if config.clustering.num_clusters in noted.broken:
            raise DataError("fewer frames than clusters")
        noted.fitted.append((out.name, config.feature))
        return SimpleNamespace(hash=out.name, num_clusters=config.clustering.num_clusters)

    def label(shards, codebooks):
        noted.labelled.append([codebook.hash for codebook in codebooks])
        return [shards.labels_dir / codebook.hash for codebook in codebooks]

    monkeypatch.setattr(run_targets, "fit_codebook", fit_codebook)
    monkeypatch.setattr(run_targets, "review_codebook", lambda *_: None)
    monkeypatch.setattr(module, "label", label)
    monkeypatch.setattr(module, "review_labels", lambda *_: None)
    monkeypatch.setattr(module, "choose_labels", lambda config, shards, paths: [path.name for path in paths])
    monkeypatch.setattr(module, "resolve", lambda config, **_: config)
    return noted


def test_trials_of_the_same_targets_share_a_codebook_and_one_pass_labels_for_all(sweep, calls):
    jobs = sweep.jobs(sweep.space.wave(0))
    assert [job.record.name for job in jobs] == ["a", "span5", "k25"]
    names = [name for name, _ in calls.fitted]
    assert names[0] == names[1] != names[2]  # the second finds it done
    assert calls.labelled == [names]
    assert [job.labels for job in jobs] == [(name,) for name in names]
    assert [job.config.masking.mask_length for job in jobs] == [10, 5, 10]


def test_what_cannot_be_made_for_a_trial_is_its_failure_alone(sweep, calls):
    calls.broken.add(25)
    jobs = sweep.jobs(sweep.space.wave(0))
    assert [job.record.name for job in jobs] == ["a", "span5"]
    record = sweep.record("k25")
    assert (record.status, record.reason, record.error) == ("failed", "fewer frames than clusters", "DataError")


def test_labels_that_cannot_be_made_are_the_failure_of_the_trials_that_need_them(sweep, calls, monkeypatch):
    whole = module.label

    def label(shards, codebooks):
        if any(codebook.num_clusters == 25 for codebook in codebooks):
            raise DataError("no room for the labels")
        return whole(shards, codebooks)

    monkeypatch.setattr(module, "label", label)
    jobs = sweep.jobs(sweep.space.wave(0))
    assert [job.record.name for job in jobs] == ["a", "span5"]
    record = sweep.record("k25")
    assert (record.status, record.reason, record.error) == ("failed", "no room for the labels", "DataError")
    assert sweep.record("a").status == "pending"


def test_a_trial_with_more_workers_than_the_cluster_has_room_for_fails_alone(sweep, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(room.ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(room.ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}])
    *fitting, last = sweep.space.wave(0)
    wide = last.config.model_copy(update={"scaling": ScalingConfig(num_workers=16, use_gpu=False)})
    assert sweep.with_room([*fitting, replace(last, config=wide)]) == fitting
    record = sweep.record(last.name)
    assert (record.status, record.error) == ("failed", "EnvironmentFaultError")
    assert "scaling.num_workers=16" in record.reason


def test_a_later_wave_takes_the_last_checkpoint_of_the_trial_that_it_waits_for(sweep, calls, monkeypatch):
    (second,) = sweep.space.wave(1)
    sweep.keep(replace(sweep.record("a"), status="done"))
    assert sweep.may_begin(second)
    monkeypatch.setattr(module, "newest_checkpoint", lambda path: SimpleNamespace(path=Path(path) / "step-7"))
    (job,) = sweep.jobs([second])
    ((_, feature),) = calls.fitted
    assert feature.encoder == str(sweep.dir.run_dir("a").checkpoints_dir / "step-7")
    assert job.config.feature.encoder == feature.encoder


@pytest.mark.parametrize("status", ["failed", "stopped"])
def test_a_trial_whose_parent_is_not_done_fails_with_that_reason(sweep, status):
    (second,) = sweep.space.wave(1)
    sweep.keep(replace(sweep.record("a"), status=status, reason="no room", error="DataError"))
    assert not sweep.may_begin(second)
    record = sweep.record("iter2")
    assert (record.status, record.reason) == ("failed", f"waits for a, which {status}: no room")


def test_the_page_of_hyper_parameters_names_every_metric_of_the_tasks(sweep):
    assert sweep._tags() == ["pretrain/loss"]
    judged = replace(sweep, judgement=replace(sweep.judgement, data_dir=Path("data")))
    assert judged._tags() == ["score", "probe/gtzan_genre/accuracy"]


def test_other_data_is_told_of_and_judges_every_trial_again(sweep, tmp_path, caplog):
    folders = [tmp_path / name for name in ("here", "there")]
    places = (sweep.space, sweep.dir, sweep.shards)
    judged = Sweep.planned(*places, folders[0])
    judged.keep(replace(judged.record("a"), status="done", score=0.5))
    assert Sweep.planned(*places, folders[0]).record("a").score == 0.5
    assert not caplog.text
    again = Sweep.planned(*places, folders[1])
    assert (again.record("a").status, again.record("a").score) == ("pending", None)
    assert f"were probed on {folders[0]}; they are probed again on {folders[1]}" in caplog.text
