"""One trial with stand-ins for its stages: its record at every end, and what a scheduler hears."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.errors import DataError, StoppedError
from ray_musicssl.on_ray import trial as stage
from ray_musicssl.on_ray.trial import Judgement, TrialJob, run_trial
from ray_musicssl.reporting.paper import COLUMNS, NINE_TASKS, PRESET_ROWS
from ray_musicssl.reporting.sweep import mean_points
from ray_musicssl.search_space.metric import Metric
from ray_musicssl.sweep_dir import SweepDir, TrialRecord

RECORD = TrialRecord(
    name="a",
    variant="a",
    preset="music2vec-demo",
    scale="",
    overrides=(),
    settings={},
    identity="1",
    judged_by="2",
    max_steps=30,
    wall_s=100.0,
)


@pytest.fixture
def job(tiny, tmp_path):
    judgement = Judgement(data_dir=tmp_path, tasks=("gtzan_genre",), probe=ProbeConfig(), metric=Metric())
    return TrialJob(
        record=RECORD,
        config=tiny.config(),
        labels=(),
        shards=tiny.shards,
        sweep=SweepDir(tmp_path),
        judgement=judgement,
        watch="pretrain/loss",
    )


@pytest.fixture
def trained(monkeypatch, job):
    """Trains in no time; set `.error` to fail."""
    acts = SimpleNamespace(error=None, stages=[])

    def pretrain(config, shards, run_dir, *, labels):
        acts.stages.append(job.sweep.record("a").stage)
        if acts.error:
            raise acts.error
        line = {"step": 30, "pretrain/loss": 2.0, "sys/elapsed_s": 3600.0}
        run_dir.metrics_path.write_text(json.dumps(line) + "\n")

    def probe(specs, data_dir, tasks, out_dirs, config, *, cache_dir):
        acts.stages.append(job.sweep.record("a").stage)
        metrics = {"accuracy": SimpleNamespace(mean=0.75)}
        return [SimpleNamespace(task=task, metrics=metrics) for task in tasks]

    monkeypatch.setattr(stage, "pretrain", pretrain)
    monkeypatch.setattr(stage, "probe", probe)
    monkeypatch.setattr(stage, "POLL_S", 0.01)
    return acts


def test_a_trial_is_trained_then_probed_and_its_record_says_what_it_scored_and_cost(job, trained):
    told = []
    run_trial(job, told.append)
    record = job.sweep.record("a")
    assert trained.stages == ["pretrain", "probe"]
    assert (record.status, record.stage, record.score) == ("done", "", 0.75)
    assert record.scores == {"gtzan_genre": {"accuracy": 0.75}}
    assert record.wall_s > RECORD.wall_s
    assert (record.cpu_hours, record.gpu_hours) == (0.5, 0.0)
    assert told == [{"step": 30, "pretrain/loss": 2.0, "score": 0.75}]


@pytest.mark.parametrize(
    ("error", "status", "reason", "kind"),
    [
        (DataError("no clip is long enough"), "failed", "no clip is long enough", "DataError"),
        (ZeroDivisionError("by zero"), "failed", "ZeroDivisionError: by zero", "MusicsslError"),
        (StoppedError("stopped"), "pending", "stopped", ""),
    ],
)
def test_an_error_ends_the_trial_alone_with_its_reason(job, trained, error, status, reason, kind):
    trained.error = error
    told = []
    run_trial(job, told.append)
    record = job.sweep.record("a")
    assert (record.status, record.reason, record.error, told) == (status, reason, kind, [])


def test_no_trial_begins_after_a_request_to_stop(job, trained):
    job.sweep.stop_path.touch()
    run_trial(job, pytest.fail)
    assert trained.stages == []
    assert job.sweep.record("a") is None


def test_a_trial_that_is_run_again_shows_it_in_its_minutes_and_its_event_files(job, trained):
    """Twin of the tests on a cluster that nothing which ended is run again: they look at these two."""
    run_dir, found = job.sweep.run_dir("a"), []
    for _ in range(2):
        record = job.sweep.record("a") or job.record
        run_trial(replace(job, record=record), lambda _: None)
        found.append((job.sweep.record("a").wall_s, len(list(run_dir.tensorboard_dir.glob("events*")))))
    assert found[1][0] > found[0][0]
    assert found[1][1] > found[0][1]


def test_a_trial_that_is_not_probed_is_done_when_it_is_trained(job, trained):
    told = []
    run_trial(replace(job, judgement=replace(job.judgement, data_dir=None)), told.append)
    record = job.sweep.record("a")
    assert (record.status, record.score, trained.stages) == ("done", None, ["pretrain"])
    assert math.isnan(told[-1]["score"])


@pytest.mark.parametrize(
    ("metric", "score"),
    [
        (Metric(), (0.5 + 0.2) / 2),  # headlines: accuracy of genre, the mean R2 of emotion
        (Metric(task="gtzan_genre"), 0.5),
        (Metric(task="emomusic", name="r2_arousal"), 0.1),
        (Metric(task="nsynth_pitch"), None),
    ],
)
def test_a_score_is_the_mean_over_tasks_or_what_the_metric_names(job, metric, score):
    scores = {"gtzan_genre": {"accuracy": 0.5}, "emomusic": {"r2": 0.2, "r2_arousal": 0.1}}
    judgement = replace(job.judgement, tasks=tuple(scores), metric=metric)
    assert judgement.score(scores) == (score if score is None else pytest.approx(score))
    assert judgement.score({}) is None
    if score is not None:
        assert judgement.score({task: dict.fromkeys(own, math.nan) for task, own in scores.items()}) is None


def test_the_average_is_the_papers_and_the_reports(job):
    """Every printed row, scored by us as it is printed, has the paper's own average."""
    nine = [column for column in COLUMNS if column.task in NINE_TASKS]
    judgement = replace(job.judgement, tasks=NINE_TASKS)
    for row in PRESET_ROWS.values():
        scores = {
            task: {c.metric: row.values[task, c.metric] / 100 for c in nine if c.task == task} for task in NINE_TASKS
        }
        scores["emomusic"]["r2"] = 0.0  # of the two columns, whatever else was scored
        average = judgement.score(scores)
        assert average is not None
        assert 100 * average == pytest.approx(row.average, abs=0.11)
        assert 100 * average == pytest.approx(mean_points(row.values, nine))
