"""`musicssl tune`: what it says without Ray, and what it hands on."""

import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPACES = ROOT / "tune_spaces"


def test_a_dry_run_is_json_alone_of_every_trial(run):
    said = run("tune", SPACES / "musichubert_table2.yaml", "--dry-run", "--json")
    assert (said.code, said.err) == (0, "")
    trials = json.loads(said.out)
    assert [trial["name"] for trial in trials] == ["k2000-mfcc39", "k500-mfcc39", "k500-mfcc60", "k2000-iter2"]
    last = trials[-1]
    assert (last["overrides"], last["preset"], last["scale"]) == ([], "musichubert-k2000-iter2", None)
    assert (last["after"], last["wave"], last["max_steps"]) == ("k2000-mfcc39", 1, 400_000)
    assert last["resources"] == {"num_workers": 8, "cpus_per_worker": 0.5, "gpus_per_worker": 1.0}
    (labels,) = last["labels"]
    assert (labels["title"], labels["trial"]) == ("layer 6 of k2000-mfcc39, k=2000", "k2000-mfcc39")
    assert (labels["feature"]["name"], labels["num_clusters"]) == ("hidden", 2000)


def test_the_words_of_a_trial_are_words_of_pretrain(run):
    said = run("tune", SPACES / "demo.yaml", "--dry-run", "--json", "training.max_steps=3")
    trials = {trial["name"]: trial for trial in json.loads(said.out)}
    words = ["training.max_steps=3", "scaling.num_workers=1", "masking.mask_length=5"]
    assert trials["hubert-span5"]["overrides"] == words


def test_a_dry_run_says_on_one_line_each_what_the_trials_are(run):
    said = run("tune", SPACES / "demo.yaml", "--dry-run", "--set", "num_seeds=7")
    assert (said.code, said.err) == (0, "")
    lines = [line.rstrip() for line in said.out.splitlines()]
    assert lines[0].startswith("demo: The four axes")
    assert lines[1] == "every trial: training.max_steps=600 scaling.num_workers=1"
    (line,) = [line for line in lines if " hubert-k25 " in line]
    said_of_it = "0 hubert-k25 musichubert-demo clustering.num_clusters=25 cqt, k=25 600 x 10 s 1 x 0.5 CPU"
    assert " ".join(line.split()) == said_of_it
    assert lines[-2] == "8 trials, 2 codebook(s): cqt, k=100; cqt, k=25"
    assert lines[-1] == "probes after each: gtzan_genre, giantsteps_key, 7 seed(s); metric: average"


def test_a_dry_run_shows_brackets_as_they_are(run, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("about: 'which layers [top] to [bold]average[/c]'\npreset: music2vec-demo\n")
    assert "x: which layers [top] to [bold]average[/c]" in run("tune", path, "--dry-run").out


def test_a_dry_run_says_what_is_left_out_and_what_chooses(run, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "about: x\npreset: music2vec-vanilla\nskip_impossible: true\nscheduler: median\n"
        "axes: {audio.crop_s: {grid: [0.25, 5.0]}, encoder.dropout: {grid: [0.0, 0.1]}}\n"
        "overrides: {masking.mask_length: 20}\n"
    )
    said = run("tune", path, "--dry-run").out
    assert "left out: crop0.25-dropout0: masking.mask_length=20, audio.crop_s=0.25 cannot be" in said
    assert "scheduler: median stops bad trials by pretrain/loss" in said
    path.write_text(
        "about: x\npreset: music2vec-demo\nsearch: optuna\nsamples: 1\naxes: {optim.peak_lr: {uniform: [0.1, 0.2]}}\n"
    )
    assert "search: optuna chooses optim.peak_lr by the scores so far" in run("tune", path, "--dry-run").out


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--dry-run"], ["--dry-run", "--json"], []])
def test_neither_looking_nor_a_mistake_loads_ray_or_torch(words, tmp_path):
    path = SPACES / "ablation_grid.yaml"
    if not words:
        path = tmp_path / "x.yaml"
        path.write_text("about: x\npreset: music2vec-vanila\n")
    program = (
        f"import sys, time\nfrom ray_musicssl.cli import main\nstarted = time.process_time()\n"
        f"try:\n    main({['tune', str(path), *words]!r})\nexcept SystemExit as ended:\n    code = ended.code\n"
        f"print(code, sorted({{'ray', 'torch'}} & set(sys.modules)), time.process_time() - started < 2, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == f"{0 if words else 2} [] True"


@pytest.fixture
def handed(monkeypatch):
    """What `on_ray.tune.tune` is called with."""
    calls = []
    module = types.ModuleType("ray_musicssl.on_ray.tune")

    def tune(space, **named):
        calls.append((space, named))
        return named["run_dir"] / "report.html"

    module.tune = tune
    monkeypatch.setitem(sys.modules, "ray_musicssl.on_ray.tune", module)
    return calls


def test_a_sweep_is_handed_the_space_and_its_places(run, handed):
    said = run(
        *("tune", SPACES / "demo.yaml", "--shards", "s", "--run-dir", "r", "--data", "d"),
        *("--set", "num_seeds=9", "training.max_steps=3"),
    )
    assert (said.code, said.err) == (0, "")
    ((space, named),) = handed
    assert named == {"run_dir": Path("r"), "shards": Path("s"), "data": Path("d"), "fresh": False}
    assert (len(space.trials), space.probe.num_seeds) == (8, 9)
    assert {trial.config.training.max_steps for trial in space.trials} == {3}
    assert said.out.splitlines() == ["-> r/report.html", "curves: tensorboard --logdir r"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--shards and --run-dir missing"),
        (["--shards", "s"], "--run-dir missing"),
        (["--shards", "s", "--run-dir", "r", "--json"], "add --dry-run"),
        (["--shards", "s", "--run-dir", "r", "masking.mask_prob=2"], "masking.mask_prob=2 on the command line"),
    ],
)
def test_a_sweep_that_cannot_begin_is_refused_with_exit_code_2(run, handed, words, message):
    said = run("tune", SPACES / "demo.yaml", *words)
    assert (said.code, handed) == (2, [])
    assert message in said.err
