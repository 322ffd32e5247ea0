"""The stage: whole files only, nothing done twice, nothing mixed."""

from contextlib import nullcontext

import pytest

from ray_musicssl.demo.corpus import plan
from ray_musicssl.errors import ConfigError, ResumeRefusedError
from ray_musicssl.on_ray import demo_data
from ray_musicssl.run_dir import done_facts


@pytest.fixture
def made(monkeypatch):
    """Replaces Ray by a loop, and collects the paths that are made."""
    paths = []

    def run_here(function, items):
        for index, chunk in enumerate(items):
            paths.extend(job.path for job in chunk.jobs)
            yield index, function(chunk)

    monkeypatch.setattr(demo_data, "run_tasks", run_here)
    monkeypatch.setattr(demo_data, "session", nullcontext)
    return paths


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_second_make_does_nothing(tmp_path, made):
    out = demo_data.make_demo_data(tmp_path / "corpus", preset="tiny", sets=["nsynth"])
    before = stamps(out)
    first = list(made)
    assert demo_data.make_demo_data(out, preset="tiny", sets=["nsynth"]) == out
    assert made == first
    assert {path: stamp for path, stamp in stamps(out).items() if ".lock" not in path.name} == {
        path: stamp for path, stamp in before.items() if ".lock" not in path.name
    }


def test_only_what_is_missing_is_made(tmp_path, made):
    out = demo_data.make_demo_data(tmp_path, preset="tiny", sets=["nsynth"])
    lost = plan("tiny", 0, ["nsynth"]).jobs[3].path
    (out / lost).unlink()
    made.clear()
    demo_data.make_demo_data(tmp_path, preset="tiny", sets=["nsynth"])
    assert made == [lost]
    assert (out / lost).exists()


def test_a_killed_make_goes_on_and_takes_no_other_settings(tmp_path, made, monkeypatch):
    def die(plan, out_dir):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demo_data, "write_annotations", die)
        with pytest.raises(KeyboardInterrupt):
            demo_data.make_demo_data(tmp_path, preset="tiny", sets=["nsynth"])
    made.clear()
    with pytest.raises(ResumeRefusedError, match=r"seed 0.*seed 1"):
        demo_data.make_demo_data(tmp_path, preset="tiny", seed=1, sets=["nsynth"])
    demo_data.make_demo_data(tmp_path, preset="tiny", sets=["nsynth"])
    assert made == []
    facts = done_facts(tmp_path, "demo-data")
    assert facts is not None
    assert facts["num_files"] == 44


def test_a_finished_corpus_is_not_overwritten_with_another(tmp_path, made):
    demo_data.make_demo_data(tmp_path, preset="tiny", sets=["nsynth"])
    with pytest.raises(ResumeRefusedError, match="choose another directory"):
        demo_data.make_demo_data(tmp_path, preset="tiny", seed=1, sets=["nsynth"])


def test_an_unknown_preset_is_refused_before_anything_is_written(tmp_path, made):
    with pytest.raises(ConfigError, match="unknown demo preset"):
        demo_data.make_demo_data(tmp_path / "corpus", preset="huge")
    assert not (tmp_path / "corpus").exists()


def test_chunks_keep_every_job_in_order(tmp_path):
    jobs = plan("demo", 0).jobs
    chunks = list(demo_data._chunks(tmp_path, jobs))
    assert [job for chunk in chunks for job in chunk.jobs] == list(jobs)
    assert len(chunks) > 20


@pytest.mark.ray
def test_ray_makes_every_file_of_the_plan(tmp_path, cluster):
    out = demo_data.make_demo_data(tmp_path, preset="tiny", seed=3)
    corpus = plan("tiny", 3)
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.suffix in {".wav", ".flac", ".mp3", ".ogg"}}
    assert found == {job.path for job in corpus.jobs}
    assert (out / "datasets/gtzan/train_filtered.txt").exists()
    assert (out / "datasets/mtg_jamendo/mtg-jamendo-dataset/data/autotagging_genre.tsv").exists()
