"""What people type, where a stage really runs: exit codes and what is said."""

import os

import pytest

from ray_musicssl.run_dir import locked

pytestmark = pytest.mark.slow


@pytest.fixture
def pretrain_words(tiny, tmp_path):
    """The tiny run of two steps, inside the process."""
    words = ["pretrain", tiny.preset, "--shards", tiny.shards.path, "--run-dir", tmp_path / "run", *tiny.overrides]
    return [*words, "training.max_steps=2", "optim.peak_lr=0.01"]


@pytest.mark.usefixtures("without_ray")
def test_a_run_says_where_it_is_and_another_one_in_its_place_is_refused_with_4(run, pretrain_words, tmp_path):
    said = run(*pretrain_words)
    assert said.code == 0
    assert said.out.splitlines()[-1] == f"-> {tmp_path / 'run'}"
    assert "2 steps; checkpoint" in said.out
    said = run(*pretrain_words, "optim.peak_lr=0.5")
    assert said.code == 4
    assert said.err.startswith("error: ")
    assert "optim.peak_lr (0.01 -> 0.5); use another --run-dir, or --fresh" in said.err
    assert run(*pretrain_words, "optim.peak_lr=0.5", "--fresh").code == 0


@pytest.mark.usefixtures("without_ray")
def test_a_run_that_diverges_ends_with_5(run, pretrain_words):
    said = run(
        *pretrain_words,
        "training.max_steps=12",
        "optim.peak_lr=1e30",
        "optim.clip_norm=0",
        "training.max_nonfinite_steps=0",
    )
    assert said.code == 5
    assert "error: the gradient was not finite" in said.err


@pytest.mark.usefixtures("without_ray")
def test_a_directory_in_use_is_refused_with_6_and_names_its_owner(run, pretrain_words, tmp_path):
    with locked(tmp_path / "run"):
        said = run(*pretrain_words)
    assert said.code == 6
    assert f"is in use by process {os.getpid()} on" in said.err


def test_ctrl_c_ends_with_75_and_says_that_the_command_goes_on(run, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("ray_musicssl.reporting.html.write_report", interrupt)
    said = run("report", ".")
    assert said.code == 75
    assert "interrupted; the same command goes on" in said.err


def test_debug_shows_where_an_error_came_from(run, monkeypatch):
    monkeypatch.setenv("MUSICSSL_DEBUG", "")  # so that what --debug sets is taken back
    said = run("--debug", "presets", "show", "nothing")
    assert said.code == 2
    assert "Traceback" in said.err


def test_a_report_goes_into_the_folder_that_is_named(run, whole_run_dir, tmp_path):
    said = run("report", whole_run_dir, "--out", tmp_path / "there")
    assert said.code == 0
    names = {path.name for path in (tmp_path / "there").iterdir()}
    assert {"report.html", "results.md", "results.csv"} <= names


def test_embedding_options_reach_the_stage(run, monkeypatch, tmp_path):
    given = {}
    monkeypatch.setattr("ray_musicssl.on_ray.embed.embed_files", lambda *a, **k: given.update(k) or tmp_path)
    run("embed", "r", "--audio", "a", "--out", "o", "--layers", "0,-1", "--frames")
    assert given == {"layers": [0, -1], "pool": None, "clip_s": 30.0, "max_bad_fraction": 0.05}
    run("embed", "r", "--audio", "a", "--out", "o", "--clip-s", "5", "--max-bad-fraction", "0.5")
    assert given == {"layers": "all", "pool": "mean", "clip_s": 5.0, "max_bad_fraction": 0.5}
