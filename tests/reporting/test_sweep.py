"""A sweep in the report: the paper's rows beside ours, effects, ranks, reasons."""

import re
import shutil
from dataclasses import asdict

import pytest
from scipy.stats import kendalltau

from ray_musicssl.reporting.found import find
from ray_musicssl.reporting.html import write_report
from ray_musicssl.reporting.paper import PRESET_ROWS
from ray_musicssl.reporting.sweep import (
    beside_paper,
    effects,
    find_sweeps,
    mean_points,
    rank_correlation,
    share_of_orders,
)
from ray_musicssl.reporting.sweep_section import paper_tables, sweep_in_words
from ray_musicssl.reporting.sweep_tables import failures_table, trials_table
from ray_musicssl.run_dir import read_json
from ray_musicssl.sweep_dir import TrialRecord

from .conftest import write_json, write_run

TASKS = ("giantsteps_key", "gtzan_genre")
# Key and genre of each trial, in points: the order of means is span5 < prob50 < vanilla, the paper's span5 < vanilla < prob50.
SCORES = {"vanilla": (20, 60), "span5": (10, 30), "prob50": (15, 50)}


def record(name, /, **facts):
    known = {}
    if name in SCORES:
        key, genre = (points / 100 for points in SCORES[name])
        scores = {"giantsteps_key": {"weighted_score": key}, "gtzan_genre": {"accuracy": genre}}
        known = {"status": "done", "scores": scores, "score": (key + genre) / 2}
    return TrialRecord(
        **{
            "name": name,
            "variant": name,
            "preset": f"music2vec-{name}",
            "scale": "demo",
            "overrides": (),
            "settings": {"masking.mask_length": 5 if name == "span5" else 10, "masking.mask_prob": 0.65},
            "identity": name,
            "judged_by": "j",
            "max_steps": 30,
            "cpu_hours": 0.25,
            **known,
            **facts,
        }
    )


@pytest.fixture
def root(tmp_path):
    records = [record(name) for name in SCORES]
    records.append(record("crop5s", status="failed", reason="no clip is <long> enough", preset="music2vec-crop5s"))
    for entry in records:
        path = tmp_path / "runs" / entry.name
        log = [{"step": step, "pretrain/loss": 3.0 / step} for step in range(1, 30)]
        write_run(path, entry.preset, log, objective={"name": "music2vec", "top_k": 3})
        write_json(path / "trial.json", asdict(entry))
    facts = {"name": "t3", "about": "About it", "trials": [*SCORES, "crop5s"], "tasks": TASKS, "metric": "average"}
    write_json(tmp_path / "sweep.json", facts | {"left_out": [{"name": "span50", "reason": "too long"}]})
    return tmp_path


@pytest.fixture
def sweep(root):
    (found,) = find_sweeps(find(root))
    return found


def test_trials_are_in_the_sweeps_order(sweep):
    assert [trial.record.name for trial in sweep.trials] == [*SCORES, "crop5s"]
    assert [trial.record.name for trial in sweep.scored] == ["vanilla", "prob50", "span5"]
    assert sweep.trials[0].points == {("giantsteps_key", "weighted_score"): 20, ("gtzan_genre", "accuracy"): 60}


def test_the_papers_rows_stand_beside_ours_and_orders_are_compared(sweep):
    rows = beside_paper(sweep)
    assert [(row.preset, row.names) for row in rows] == [
        (f"music2vec-{name}", (name,)) for name in ("vanilla", "span5", "prob50")
    ]
    (table,) = paper_tables(sweep, is_synthetic=True)
    assert table.header == ("model", "Key", "Genre", "mean")
    texts = [[cell.text for cell in row] for row in table.rows]
    assert texts[0] == ["vanilla", "20.0", "60.0", "40.0"]
    assert texts[1] == ["Music2Vec, vanilla (printed)", "19.0", "59.7", "39.4"]  # (19.0 + 59.7) / 2 = 39.35
    # Key: ours 20 10 15, theirs 19.0 15.7 23.7, ranks 3 1 2 and 2 1 3: 1 - 6 x 2 / (3 x 8) = 0.5; genre: the same order.
    # The mean: theirs 39.35 31.65 41.5, ranks 2 1 3 to our 3 1 2: 0.5.
    assert texts[-1] == ["rank correlation", "+0.50", "+1.00", "+0.50"]
    assert "made by the demo and of small runs" in table.caption


def test_trials_of_one_preset_that_differ_by_more_than_a_seed_are_no_row_of_the_paper(root):
    settings = {"masking.mask_length": 5, "masking.mask_prob": 0.65}
    facts = read_json(root / "sweep.json")
    write_json(root / "sweep.json", facts | {"trials": [*facts["trials"], "other"]})
    twin = record("vanilla", name="other", identity="o", settings=settings)
    write_json(root / "runs/other/trial.json", asdict(twin))
    (sweep,) = find_sweeps(find(root))
    assert "music2vec-vanilla" not in [row.preset for row in beside_paper(sweep)]
    own = {"masking.mask_length": 10, "masking.mask_prob": 0.65, "training.seed": 7}
    scores = {"gtzan_genre": {"accuracy": 0.7}}
    write_json(
        root / "runs/other/trial.json",
        asdict(record("vanilla", name="other", identity="o", settings=own, scores=scores)),
    )
    (sweep,) = find_sweeps(find(root))
    (row,) = [row for row in beside_paper(sweep) if row.preset == "music2vec-vanilla"]
    assert (row.names, dict(row.points)) == (("vanilla", "other"), {("gtzan_genre", "accuracy"): 65.0})


@pytest.mark.parametrize(("word", "stands"), [("masking.mask_prob=0.3", False), ("training.max_steps=60", True)])
def test_a_trial_with_another_value_of_what_rows_differ_in_is_no_row_of_the_paper(root, word, stands):
    path = root / "runs/span5/trial.json"
    write_json(path, asdict(record("span5", overrides=("optim.peak_lr=1", word))))
    (sweep,) = find_sweeps(find(root))
    assert ("music2vec-span5" in [row.preset for row in beside_paper(sweep)]) == stands


def test_a_row_without_scores_is_named_under_its_own_table(root):
    path = root / "runs/hubert/trial.json"
    write_json(path, asdict(record("hubert", preset="musichubert-k500-mfcc39", status="failed")))
    facts = read_json(root / "sweep.json")
    write_json(root / "sweep.json", facts | {"trials": [*facts["trials"], "hubert"]})
    (sweep,) = find_sweeps(find(root))
    (table,) = paper_tables(sweep, is_synthetic=False)
    assert table.caption.endswith("Without scores, and not in it: crop5s.")


def test_sweeps_are_found_at_every_depth_and_know_the_demos_data_sets_by_their_marker(root, tmp_path_factory):
    above = tmp_path_factory.mktemp("above")
    shutil.copytree(root, above / "sweeps" / "t3")
    found = find(above)
    assert [sweep.name for sweep in find_sweeps(found)] == ["t3"]
    assert not found.is_synthetic
    data = tmp_path_factory.mktemp("data")
    facts = above / "sweeps/t3/sweep.json"
    write_json(facts, read_json(facts) | {"data": str(data / "datasets")})
    assert not find(above).is_synthetic
    write_json(data / "done-demo-data.json", {})
    assert find(above).is_synthetic


def test_trials_that_the_space_no_longer_names_are_told_of_and_in_no_table(root):
    """`seeds: [0]`, then `seeds: [0, 1]`: the first trial is there under two names."""
    (before,) = find_sweeps(find(root))
    scores = {"giantsteps_key": {"weighted_score": 0.9}, "gtzan_genre": {"accuracy": 0.9}}
    write_json(root / "runs/old/trial.json", asdict(record("vanilla", name="old", scores=scores, score=0.9)))
    (sweep,) = find_sweeps(find(root))
    assert sweep.former == ("old",)
    assert "No longer in the space, and in no table: old." in sweep_in_words(sweep)
    assert [trial.record.name for trial in sweep.trials] == [trial.record.name for trial in before.trials]
    assert beside_paper(sweep) == beside_paper(before)
    assert sweep.scored[0].record.name == "vanilla"


def test_a_run_of_two_names_counts_once_beside_the_paper(root):
    facts = read_json(root / "sweep.json")
    write_json(root / "sweep.json", facts | {"trials": [*facts["trials"], "twin", "other"]})
    for name, seed, genre in (("twin", 7, 0.9), ("other", 8, 0.7)):
        settings = {"masking.mask_length": 10, "masking.mask_prob": 0.65, "training.seed": seed}
        scores = {"gtzan_genre": {"accuracy": genre}}
        write_json(
            root / f"runs/{name}/trial.json",
            asdict(record("vanilla", name=name, identity=name[:1], settings=settings, scores=scores)),
        )
    (sweep,) = find_sweeps(find(root))
    (three,) = [row for row in beside_paper(sweep) if row.preset == "music2vec-vanilla"]
    assert three.points["gtzan_genre", "accuracy"] == pytest.approx((60 + 90 + 70) / 3)
    twin = record("vanilla", name="twin", settings={"masking.mask_length": 10, "masking.mask_prob": 0.65})
    write_json(root / "runs/twin/trial.json", asdict(twin))
    (sweep,) = find_sweeps(find(root))
    (two,) = [row for row in beside_paper(sweep) if row.preset == "music2vec-vanilla"]
    assert two.points["gtzan_genre", "accuracy"] == pytest.approx((60 + 70) / 2)


def test_the_mean_of_all_columns_is_the_papers_average():
    for row in PRESET_ROWS.values():
        nine = [column for column in columns_of_all() if (column.task, column.metric) in row.values]
        assert mean_points(row.values, nine) == pytest.approx(row.average, abs=0.11)


def columns_of_all():
    from ray_musicssl.reporting.paper import COLUMNS, NINE_TASKS

    return [column for column in COLUMNS if column.task in NINE_TASKS]


def test_a_rank_correlation_is_of_ranks_and_needs_an_order():
    ours, theirs = [1.0, 5.0, 3.0, 9.0], [10.0, 30.0, 20.0, 1000.0]
    assert rank_correlation(ours, theirs) == 1.0
    assert rank_correlation(ours, [-value for value in theirs]) == -1.0
    shuffled = [2.0, 9.0, 1.0, 4.0]
    assert 0 < rank_correlation(ours, shuffled) < 1
    assert kendalltau(ours, shuffled)[0] > 0
    assert rank_correlation([1.0, 2.0], [1.0, 2.0]) is None
    # Of the 24 orders of four one agrees wholly, and three more exchange two neighbours: 1 - 6 x 2 / (4 x 15) = 0.8.
    assert share_of_orders([1, 2, 3, 4], [10, 20, 30, 40], 1.0) == 1 / 24
    assert share_of_orders([1, 2, 4, 3], [10, 20, 30, 40], 0.8) == 4 / 24
    assert share_of_orders([1, 1, 2, 2], [10, 20, 30, 40], -1.0) == 1
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None


def test_an_effect_is_the_mean_over_trials_of_a_value(sweep):
    (effect,) = effects(sweep)  # the probability is the same in all
    assert (effect.key, effect.values, effect.counts) == ("masking.mask_length", (5, 10), (1, 2))
    assert effect.by_task["gtzan_genre"] == (30.0, 55.0)


def test_failures_have_their_reasons_and_costs_are_told(sweep):
    texts = [[cell.text for cell in row] for row in failures_table(sweep).rows]
    assert texts == [["crop5s", "failed", "no clip is <long> enough"], ["span50", "left out", "too long"]]
    words = sweep_in_words(sweep)
    assert "4 trials: 3 done, 1 failed." in words
    assert "The best by average is vanilla with 40.0 points" in words
    assert "1 CPU hours" in words
    # Of the six orders of three two neighbours are exchanged in two, and one is the same: 0.5 or more.
    assert "correlates with the paper's by +0.50 (Spearman); 50% of random orders do as well." in words
    assert trials_table(sweep).rows[0][-1].text == "0.25"


def test_the_page_has_the_sweep_first_and_escapes_reasons(root):
    page = write_report(root).read_text()
    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", page, re.DOTALL)
    assert titles[0].strip().endswith("Sweep t3")
    assert "no clip is &lt;long&gt; enough" in page
    for title in ("Parallel coordinates", "Loss of every trial", "Scores by masking.mask_length"):
        assert page.count(f'aria-label="{title}') == 1
    assert "## Sweep t3" in (root / "results.md").read_text()


def test_a_sweep_of_which_nothing_has_begun_still_has_a_report(tmp_path):
    write_json(tmp_path / "runs/a/trial.json", asdict(record("a")))
    facts = {"name": "x", "about": "About", "trials": ["a"], "tasks": TASKS, "metric": "average"}
    write_json(tmp_path / "sweep.json", facts)
    assert "1 trials: 1 pending" in write_report(tmp_path).read_text()
