"""What people type: commands, messages, exit codes."""

import json
import subprocess
import sys

import pytest

from ray_musicssl import __version__, cli
from ray_musicssl.config.loading import preset_names
from ray_musicssl.tasks.base import TASKS

pytestmark = pytest.mark.slow

STAGES = (
    *("demo", "prepare", "kmeans", "label", "judge", "pretrain", "embed"),
    *("probe", "report", "pipeline", "submit", "demo-data"),
)


def in_fresh_process(*words, check):
    """Run a command line in a new process, which then says what `check` evaluates to."""
    program = f"""
import sys
from ray_musicssl.cli import main
try:
    main({list(words)!r})
except SystemExit:
    pass
print({check}, file=sys.stderr)
"""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)


@pytest.mark.parametrize("words", [["--help"], ["pretrain", "--help"], ["presets", "--json"], ["--version"]])
def test_looking_loads_neither_torch_nor_ray(words):
    result = in_fresh_process(*words, check="sorted({'torch', 'ray', 'matplotlib'} & set(sys.modules))")
    assert result.stderr.strip() == "[]"


def test_the_check_of_loaded_modules_can_fail():
    result = in_fresh_process("--version", check="(__import__('torch'), 'torch' in sys.modules)[1]")
    assert result.stderr.strip() == "True"


def test_the_help_lists_every_stage_with_a_sentence(run):
    said = run("--help")
    assert said.code == 0
    for name in (*STAGES, "presets", "tasks", "doctor"):
        assert f"│ {name} " in said.out
    assert set(STAGES) <= set(cli.COMMANDS)


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_explains_itself(run, name):
    said = run(name, "--help")
    assert said.code == 0
    assert f"Usage: musicssl {name}" in said.out


def test_the_module_is_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "ray_musicssl.cli", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"{__version__}\n"


def test_presets_are_json_alone(run):
    said = run("presets", "--json")
    assert (said.code, said.err) == (0, "")
    rows = json.loads(said.out)
    assert [row["name"] for row in rows] == preset_names()
    assert {"music2vec-demo", "musichubert-demo"} <= set(preset_names())
    assert all(row["about"] for row in rows)
    averages = {row["name"]: row["paper_average"] for row in rows}
    assert (averages["music2vec-crop5s"], averages["music2vec-demo"]) == (61.8, None)


def test_tasks_are_json_alone_in_the_order_of_their_table(run):
    said = run("tasks", "--json")
    assert (said.code, said.err) == (0, "")
    rows = json.loads(said.out)
    assert [row["name"] for row in rows] == list(TASKS)
    assert all(row["dataset"] and row["metrics"] for row in rows)
    assert "gtzan_genre" in run("tasks").out  # for people, a table


def test_doctor_is_json_alone_and_fails_if_a_finding_does(run):
    said = run("doctor", "--json")
    findings = json.loads(said.out)
    assert {"python", "packages", "disk"} <= {finding["check"] for finding in findings}
    has_failed = any(finding["status"] == "fail" for finding in findings)
    assert said.code == (6 if has_failed else 0)


def test_doctor_exits_with_6_where_a_stage_would_not_run(run, monkeypatch):
    from ray_musicssl import doctor
    from ray_musicssl.doctor import Finding

    finding = Finding(check="disk", status="fail", found="1 GB", needed="10 GB", remedy="free some")
    monkeypatch.setattr(doctor, "diagnose", lambda directory: [finding])
    said = run("doctor", "--json")
    assert (said.code, json.loads(said.out)) == (6, [finding.as_dict()])
    assert "free some" in run("doctor").out


def test_a_preset_is_shown_on_a_sheet_or_as_json_alone(run):
    said = run("presets", "show", "music2vec-crop5s", "--scale", "demo")
    assert (said.code, said.err) == (0, "")
    assert "in the scale demo" in said.out
    said = run("presets", "show", "music2vec-crop5s", "--scale", "demo", "--json")
    assert (said.code, said.err) == (0, "")
    sheet = json.loads(said.out)
    assert (sheet["name"], sheet["settings"]["audio"]["crop_s"]) == ("music2vec-crop5s", 1.0)


PRETRAIN = ("pretrain", "music2vec-demo", "--shards", "none", "--run-dir", "run")
WRONG = {
    "unknown command": (["pretrian"], "pretrian"),
    "missing option": (["pretrain", "music2vec-demo", "--run-dir", "run"], "--shards"),
    "unknown option": (["prepare", "--audoi", "x"], "--audoi"),
    "preset": (["pretrain", "music2vec-demp", *PRETRAIN[2:]], 'unknown preset "music2vec-demp" (did you mean'),
    "key": ([*PRETRAIN, "optim.peak_rl=1"], 'unknown key "optim.peak_rl" (did you mean "peak_lr"?)'),
    "value": ([*PRETRAIN, "optim.peak_lr=fast"], "optim.peak_lr = 'fast'"),
    "scale": ([*PRETRAIN, "--scale", "dmeo"], 'unknown scale "dmeo" (did you mean "demo"?)'),
    "scale as setting": ([*PRETRAIN, "scale=demo"], "give the command `--scale demo`"),
    "range": ([*PRETRAIN, "training.max_steps=0"], "training.max_steps = 0"),
    "no override": ([*PRETRAIN, "fast"], '"fast" is not an override; write section.key=value'),
    "workers": ([*PRETRAIN, "scaling.num_workers=100"], "scaling.num_workers=100"),
    "kmeans key": (["kmeans", "--shards", "none", "--out", "o", "clustering.num_cluster=3"], "num_clusters"),
    "kmeans scale": (["kmeans", "--shards", "none", "--out", "o", "--scale", "x"], 'unknown scale "x"'),
    "kmeans preset": (["kmeans", "--shards", "none", "--out", "o", "--preset", "x"], 'unknown preset "x"'),
    "prepare key": (["prepare", "--audio", "a", "--out", "o", "clip=3"], 'unknown key "clip"'),
    "prepare value": (["prepare", "--audio", "a", "--out", "o", "min_clip_s=31"], "min_clip_s=31"),
    "embed layers": (["embed", "r", "--audio", "a", "--out", "o", "--layers", "1,x"], "--layers '1,x'"),
    "embed clip": (["embed", "r", "--audio", "a", "--out", "o", "--clip-s", "99"], "clip_s = 99.0"),
    "probe task": (["probe", "mfcc", "--data", "d", "--tasks", "gtzan_genres"], 'did you mean "gtzan_genre"'),
    "probe setting": (["probe", "mfcc", "--data", "d", "--set", "num_sedes=2"], 'unknown key "num_sedes"'),
    "no encoder": (
        ["pretrain", "musichubert-k2000-iter2", *PRETRAIN[2:]],
        "feature.encoder is not set: the feature hidden is a layer of the encoder that the iteration before left; give",
    ),
    "pipeline encoder": (
        ["pipeline", "--audio", "a", "--out", "o", "--presets", "musichubert-k2000-iter2"],
        "feature.encoder is not set",
    ),
    "kmeans encoder": (
        ["kmeans", "--shards", "none", "--out", "o", "feature.name=hidden"],
        "feature.encoder is not set",
    ),
    "pipeline preset": (["pipeline", "--audio", "a", "--out", "o", "--presets", "x"], 'unknown preset "x"'),
    "pipeline scale": (["pipeline", "--audio", "a", "--out", "o", "--scale", "x"], 'unknown scale "x"'),
    "presets scale": (["presets", "show", "music2vec-vanilla", "--scale", "x"], 'unknown scale "x"'),
    "pipeline key": (["pipeline", "--audio", "a", "--out", "o", "a.b=1"], 'unknown key "a"'),
    "demo size": (["demo", "--size", "big"], 'unknown demo preset "big"'),
    "demo key": (["demo", "optim.peak_rl=1"], 'unknown key "optim.peak_rl"'),
    "demo data": (["demo-data", "o", "--preset", "big"], 'unknown demo preset "big"'),
    "demo data sets": (["demo-data", "o", "--sets", "pool,gtzam"], 'did you mean "gtzan"'),
    "submit address": (["submit", "--address", "nowhere", "--", "pretrain"], 'address "nowhere"'),
    "presets action": (["presets", "delete"], "write `musicssl presets` or"),
    "presets name": (["presets", "show", "nothing"], 'unknown preset "nothing"'),
    "tasks action": (["tasks", "check", "gtzan_genre"], "write `musicssl tasks` or"),
    "tasks name": (["tasks", "check", "nothing", "--data", "d"], 'unknown task "nothing"'),
}


@pytest.mark.usefixtures("without_ray")
@pytest.mark.parametrize(("words", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_word_is_refused_with_2_before_a_cluster_starts(run, words, message):
    said = run(*words)
    assert message in said.err
    assert said.code == 2
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    assert said.out == ""


MISSING = {
    "encoder": (["pretrain", "musichubert-k2000-iter2", *PRETRAIN[2:], "feature.encoder=gone"], "no encoder at gone"),
    "pipeline encoder": (
        ["pipeline", "--audio", "a", "--out", "o", "--presets", "musichubert-k2000-iter2", "feature.encoder=gone"],
        "no encoder at gone",
    ),
    "kmeans": (["kmeans", "--shards", "none", "--out", "o"], "none holds no finished shards; run `musicssl prepare"),
    "label": (["label", "--shards", "none", "--codebook", "c"], "none holds no finished shards"),
    "judge": (["judge", "--shards", "none"], "none holds no finished shards"),
    "pretrain": ([*PRETRAIN], "none holds no finished shards"),
    "embed": (["embed", "none", "--audio", "a", "--out", "o"], "none holds no sound checkpoint"),
    "probe": (["probe", "mfcc", "--data", "none", "--tasks", "gtzan_genre"], "none"),
    "report": (["report", "none"], "none"),
    "tasks": (["tasks", "check", "gtzan_genre", "--data", "none"], "none"),
}


@pytest.mark.usefixtures("without_ray")
@pytest.mark.parametrize(("words", "message"), MISSING.values(), ids=MISSING)
def test_missing_data_is_refused_with_3_before_a_cluster_starts(run, words, message):
    said = run(*words)
    assert said.code == 3
    assert said.err.startswith("error: ")
    assert message in said.err
    assert "Traceback" not in said.err


@pytest.mark.usefixtures("without_ray")
def test_embedding_a_folder_without_audio_or_a_layer_that_is_not_there_is_refused(run, whole_run_dir, tmp_path):
    (tmp_path / "empty").mkdir()
    said = run("embed", whole_run_dir, "--audio", tmp_path / "empty", "--out", "o")
    assert (said.code, "empty" in said.err) == (3, True)
    said = run("embed", whole_run_dir, "--audio", tmp_path / "empty", "--out", "o", "--layers", "7")
    assert said.code == 2
    assert "layers=7 does not exist; this encoder has 0..2" in said.err
