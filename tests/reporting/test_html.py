import csv
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from ray_musicssl.errors import DataError
from ray_musicssl.reporting.html import write_report
from ray_musicssl.reporting.paper import task_title
from ray_musicssl.reporting.sentences import SYNTHETIC_NOTE

from .conftest import METRICS, MODELS, build, hubert_log, music2vec_log, score, write_json, write_run, write_scores

pytestmark = pytest.mark.slow

HOSTILE = "<script>alert(1)<!--\"' $x|y"


class Elements(HTMLParser):
    """Collects element names, attribute names, addresses and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names, self.attributes, self.addresses, self.words = set(), set(), [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [value for name, value in attrs if name in {"src", "href", "xlink:href"}]

    def handle_data(self, data):
        self.words += data


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A page made once, for tests that only read it."""
    return write_report(build(tmp_path_factory.mktemp("report") / "demo-run"))


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_page_names_every_model_and_task(report):
    page = Elements(report.read_text())
    for name in (*MODELS, *(task_title(task) for task in METRICS), SYNTHETIC_NOTE):
        assert name in page.words


def test_page_needs_nothing_from_outside(report):
    text = report.read_text()
    page = Elements(text)
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.addresses)
    assert not page.names & {"script", "link", "iframe", "img", "object"}


def test_hostile_names_and_values_stay_text(tree):
    run_dir = tree / "runs" / HOSTILE
    shutil.move(tree / "runs" / "musichubert-demo", run_dir)
    for path in (run_dir / "scores").glob("*.json"):
        raw = json.loads(path.read_text())
        raw |= {"model": HOSTILE, "dataset": HOSTILE, "skipped": {HOSTILE: 2}}
        if "confusion" in raw["details"]:
            raw["details"]["confusion"]["classes"][0] = HOSTILE
        write_json(path, raw)
    config = (run_dir / "config.yaml").read_text()
    (run_dir / "config.yaml").write_text(config.replace("preset: musichubert-demo", f"preset: {json.dumps(HOSTILE)}"))
    write_json(run_dir / "done-pretrain.json", {"versions": {HOSTILE: HOSTILE}})
    write_json(tree / "timings.json", {"stages": [{"stage": HOSTILE, "seconds": 1}], "machine": {HOSTILE: HOSTILE}})
    shutil.move(tree / "shards", tree / HOSTILE)
    shutil.move(tree / "codebook-mfcc", tree / f"{HOSTILE} codebook")
    page = Elements(write_report(tree).read_text())
    assert "script" not in page.names
    assert not any(name.startswith("on") for name in page.attributes)
    assert page.words.count(HOSTILE) > 10
    assert "<script" not in (tree / "results.md").read_text()


def test_escaping_check_can_fail():
    assert "script" in Elements(f"<p>{HOSTILE}").names


def test_csv_has_the_exact_columns_and_one_row_a_seed(report):
    tree = report.parent
    header = (tree / "results.csv").read_text().splitlines()[0]
    assert header == "model,task,metric,value,paper,seed,config_hash"
    rows = rows_of(tree / "results.csv")
    num_metrics = sum(len(metrics) for metrics in METRICS.values())
    assert len(rows) == len(MODELS) * num_metrics * 3
    assert {row["seed"] for row in rows} == {"0", "1", "2"}
    assert {row["paper"] for row in rows} == {""}
    raw = json.loads((tree / "runs" / "music2vec-demo" / "scores" / "gtzan_genre.json").read_text())
    ours = [row for row in rows if (row["model"], row["task"]) == ("music2vec-demo", "gtzan_genre")]
    expected = [100 * value for value in raw["metrics"]["accuracy"]["values"]]
    np.testing.assert_allclose([float(row["value"]) for row in ours], expected, atol=5e-5)
    assert ours[0]["config_hash"] == raw["config_hash"]


def test_paper_column_is_filled_for_the_papers_presets_but_not_for_twins(tmp_path):
    write_run(tmp_path / "runs" / "a", "musichubert-k500-mfcc60", [{"step": 1}])
    rng = np.random.default_rng(0)
    write_json(tmp_path / "runs" / "a" / "scores" / "x.json", score("a", "gtzan_genre", 70, rng))
    write_json(tmp_path / "runs" / "a" / "random" / "scores" / "x.json", score("random:a", "gtzan_genre", 40, rng))
    write_report(tmp_path)
    papers = {(row["model"], row["paper"]) for row in rows_of(tmp_path / "results.csv")}
    assert papers == {("a", "69.7"), ("random:a", "")}
    assert "Beside the paper" in (tmp_path / "report.html").read_text()
    assert SYNTHETIC_NOTE not in (tmp_path / "results.md").read_text()


@pytest.mark.parametrize(
    "kept", [["runs"], ["probes"], ["codebook-mfcc"], ["shards"], ["runs", "timings.json"], ["probes", "shards"]]
)
def test_missing_pieces_leave_a_page_of_the_rest(tree, kept):
    for path in tree.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = Elements(write_report(tree).read_text())
    assert ("Probes" in page.words) == bool({"runs", "probes"} & set(kept))
    assert ("Input files" in page.words) == ("shards" in kept)


def test_run_that_logged_nothing_special_is_still_shown(tmp_path):
    write_run(tmp_path, "", [{"step": 1, "pretrain/loss": 2.0}, {"step": 2}])
    (tmp_path / "config.yaml").unlink()
    assert tmp_path.name in Elements(write_report(tmp_path).read_text()).words


def test_scores_of_some_tasks_only_leave_gaps(tree):
    shutil.rmtree(tree / "probes")
    (tree / "runs" / "music2vec-demo" / "scores" / "gtzan_genre.json").unlink()
    assert "–" in Elements(write_report(tree).read_text()).words


def test_empty_root_raises_with_a_remedy_and_writes_nothing(tmp_path):
    with pytest.raises(DataError, match="musicssl"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_other_place_takes_all_files(tree, tmp_path):
    shutil.rmtree(tree / "runs")
    page = write_report(tree, tmp_path / "elsewhere" / "page.html")
    assert sorted(path.name for path in page.parent.iterdir()) == [
        *("page.html", "results.csv", "results.md", "table1.csv", "table1.tex")
    ]
    assert not (tree / "report.html").exists()


def test_writing_again_gives_the_same_bytes(report):
    first = report.read_bytes()
    assert write_report(report.parent).read_bytes() == first


def test_model_that_learned_nothing_is_called_so(tmp_path):
    write_run(tmp_path / "runs" / "flat", "", hubert_log(np.random.default_rng(0), end=8.83))
    write_scores(tmp_path, {"flat": (10, 10, 10, 10)}, np.random.default_rng(0))
    assert "Nothing was learned" in Elements(write_report(tmp_path).read_text()).words


def test_example_that_cannot_be_drawn_names_its_file(tree):
    path = tree / "runs" / "musichubert-demo" / "scores" / "gtzan_rhythm.json"
    raw = json.loads(path.read_text())
    del raw["details"]["beats"]["frame_rate"]
    write_json(path, raw)
    with pytest.raises(DataError, match=r"gtzan_rhythm\.json.*details\.beats"):
        write_report(tree)


def test_a_run_of_both_objectives_shows_labels_and_teacher(tmp_path):
    log = [
        {**labels, **{name: value for name, value in teacher.items() if name.endswith("_std")}}
        for labels, teacher in zip(
            hubert_log(np.random.default_rng(0)), music2vec_log(np.random.default_rng(0)), strict=False
        )
    ]
    objective = {"name": "joint", "music2vec": {"top_k": 2, "min_target_std": 0.05}}
    write_run(tmp_path, "both", log, objective=objective)
    page = Elements(write_report(tmp_path).read_text()).words
    assert "MusicHuBERT + Music2Vec" in page
    assert "Learned 0." in page or "Learned 1." in page
    assert "(limit 0.05): no collapse" in page
    for caption in ("the label entropy", "How often the label of a frame is guessed", "Spread of the teacher"):
        assert caption in page
