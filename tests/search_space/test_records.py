"""From a search space to records: what is new, what stays, what is refused."""

from dataclasses import replace

import pytest

from ray_musicssl.errors import ResumeRefusedError
from ray_musicssl.run_dir import read_json
from ray_musicssl.search_space.records import judgement_hash, plan_records
from ray_musicssl.search_space.space import load_space
from ray_musicssl.sweep_dir import SweepDir, write_record

BASE = "about: x\npreset: music2vec-demo\ntasks: [gtzan_genre]\n"


@pytest.fixture
def sweep(tmp_path):
    return SweepDir(tmp_path / "sweep")


@pytest.fixture
def plan(sweep, tmp_path):
    """Plan the records of a file with these lines: `plan("variants: ...")`."""

    def planned(lines, *, shards_hash="audio", judged_by="j", data="", **words):
        path = tmp_path / "few.yaml"
        path.write_text(BASE + lines)
        space = load_space(path, **words)
        return plan_records(space, sweep, shards_hash=shards_hash, judged_by=judged_by, data=data)

    return planned


TWO = "variants: {a: {}, b: {masking.mask_length: 5}}\n"


def end(sweep, name, **facts):
    write_record(sweep.record_path(name), replace(sweep.record(name), **({"status": "done", "score": 0.5} | facts)))


def test_trials_wait_and_say_only_what_they_differ_in(plan, sweep):
    records = plan(TWO, overrides=["training.max_steps=7"])
    assert {name: record.settings for name, record in records.items()} == {
        "a": {"masking.mask_length": 3},
        "b": {"masking.mask_length": 5},
    }
    assert {(record.status, record.max_steps, record.score) for record in records.values()} == {("pending", 7, None)}
    assert records == {name: sweep.record(name) for name in records}
    facts = read_json(sweep.facts_path)
    assert (facts["trials"], facts["tasks"], facts["shards"]) == (["a", "b"], ["gtzan_genre"], "audio")
    assert sweep.space_path.read_text() == BASE + TWO


def test_settings_of_targets_are_those_of_trials_that_have_targets(plan):
    records = plan(
        "variants: {m: {}, h: {preset: musichubert-demo}, k: {preset: musichubert-demo, clustering.num_clusters: 25}}\n"
    )
    keys = "clustering.num_clusters"
    assert [record.settings.get(keys) for record in records.values()] == [None, 100, 25]


def test_what_ended_stays_and_what_failed_or_was_added_waits(plan, sweep):
    plan(TWO)
    end(sweep, "a", wall_s=3.0)
    end(sweep, "b", status="failed", reason="no room", score=None, wall_s=4.0)
    records = plan("variants: {a: {}, b: {masking.mask_length: 5}, c: {masking.mask_prob: 0.5}}\n")
    assert {name: record.status for name, record in records.items()} == {"a": "done", "b": "pending", "c": "pending"}
    assert (records["a"].score, records["a"].wall_s) == (0.5, 3.0)
    assert (records["b"].reason, records["b"].wall_s) == ("", 4.0)
    # The sweep has another axis now, and the trial that is not run again says its value too.
    assert records["a"].settings == {"masking.mask_length": 3, "masking.mask_prob": 0.65}


def test_a_trial_judged_otherwise_is_judged_again_but_one_that_was_ended_early_is_not(plan, sweep):
    plan(TWO)
    end(sweep, "a")
    end(sweep, "b", status="stopped", score=None)
    records = plan(TWO, judged_by="other tasks")
    assert [record.status for record in records.values()] == ["pending", "stopped"]


def test_a_call_that_probes_nothing_keeps_scores_and_what_they_are_scores_of(plan, sweep):
    plan(TWO, data="/data")
    end(sweep, "a", scores={"gtzan_genre": {"accuracy": 0.5}})
    before = sweep.record("a")
    assert plan(TWO, judged_by="")["a"] == before
    assert read_json(sweep.facts_path)["data"] == "/data"
    assert plan(TWO, data="/data")["a"] == before


def test_a_trial_that_was_never_probed_is_once_there_is_something_to_probe_it_on(plan, sweep):
    plan(TWO, judged_by="")
    end(sweep, "a", score=None)
    assert plan(TWO, judged_by="")["a"].status == "done"
    assert plan(TWO)["a"].status == "pending"


def test_a_changed_trial_and_other_audio_are_refused(plan, sweep):
    plan(TWO)
    with pytest.raises(ResumeRefusedError, match=r"another trial of the name b .*mask_length=4, masking.mask_length=5"):
        plan("variants: {a: {}, b: {masking.mask_length: 4}}\n")
    with pytest.raises(ResumeRefusedError, match="a sweep on the shards audio, not others"):
        plan(TWO, shards_hash="others")
    assert sweep.record("b").overrides == ("masking.mask_length=5",)


def test_a_judgement_is_tasks_recipe_metric_and_data(tmp_path):
    path = tmp_path / "x.yaml"
    found = set()
    for lines in ("", "probe: {num_seeds: 9}\n", "metric: gtzan_genre\n"):
        path.write_text(BASE + lines + TWO)
        found.add(judgement_hash(load_space(path), "here"))
    found.add(judgement_hash(load_space(path), "there"))
    assert judgement_hash(load_space(path), "") == ""
    assert len(found) == 4
