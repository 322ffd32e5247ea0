"""The pipeline's stages with stand-ins: their order, what each is given, and what stops it before the first."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from ray_musicssl.config.loading import load_config
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.demo.presets import PRESETS as SIZES
from ray_musicssl.errors import DataError
from ray_musicssl.on_ray import demo, pipeline, run_targets
from ray_musicssl.on_ray.pipeline import Pipeline

TASKS = ("gtzan_genre", "nsynth_pitch")


@pytest.fixture
def calls(monkeypatch):
    """What the stages were called with, in order; each gives its output's path."""
    noted = []

    def stand_in(name, gives, module=pipeline):
        def stage(*args, **kwargs):
            noted.append(SimpleNamespace(name=name, args=args, kwargs=kwargs))
            return gives(*args)

        monkeypatch.setattr(module, name, stage)

    stand_in("prepare", lambda audio, out, config: SimpleNamespace(labels_dir=out / "labels"))
    stand_in("fit_codebook", lambda shards, out, config: SimpleNamespace(hash=f"hash of {out.name}"), run_targets)
    stand_in("label", lambda shards, codebooks: [shards.labels_dir / codebook.hash for codebook in codebooks])
    monkeypatch.setattr(run_targets, "review_codebook", lambda *_: None)
    monkeypatch.setattr(pipeline, "review_labels", lambda *_: None)
    stand_in("choose_labels", lambda config, shards, paths: [path.name for path in paths])
    stand_in("pretrain", lambda config, shards, run_dir: None)
    stand_in("embed_files", lambda run, audio, out: out)
    stand_in("probe", lambda *_: [])
    stand_in("write_report", lambda out: out / "report.html")
    stand_in("check_task", lambda name, data_dir: {})
    monkeypatch.setattr(pipeline, "session", nullcontext)
    return noted


def names(calls):
    return [call.name for call in calls]


def of(calls, name):
    return [call for call in calls if call.name == name]


def test_stages_run_in_order_and_each_gets_what_the_one_before_it_made(calls, tmp_path):
    out = tmp_path / "out"
    job = Pipeline(
        audio="music",
        out=out,
        presets=("musichubert-demo", "music2vec-demo"),
        overrides=("training.max_steps=7",),
        max_bad_fraction=0.25,
        data_dir=tmp_path / "data",
        tasks=TASKS,
        embed_audio="some",
    )
    assert job.run() == out / "report.html"
    assert names(calls) == [
        *("check_task", "check_task", "prepare", "fit_codebook", "label"),
        *("choose_labels", "pretrain", "embed_files", "choose_labels", "pretrain", "embed_files"),
        *("probe", "write_report"),
    ]
    (prepared,) = of(calls, "prepare")
    assert (prepared.args[:2], prepared.kwargs) == (("music", out / "shards"), {"max_bad_fraction": 0.25})
    codebooks = [f"hash of {call.args[1].name}" for call in of(calls, "fit_codebook")]
    (labelled,) = of(calls, "label")
    assert [codebook.hash for codebook in labelled.args[1]] == codebooks
    runs = [out / "runs" / name for name in job.presets]
    trained = of(calls, "pretrain")
    assert [call.args[2].path for call in trained] == runs
    assert [call.args[0].training.max_steps for call in trained] == [7, 7]
    assert [call.kwargs["labels"] for call in trained] == [codebooks, []]
    embedded = of(calls, "embed_files")
    assert [call.args for call in embedded] == [(run, "some", run / "embeddings") for run in runs]
    assert [call.kwargs for call in embedded] == [{"max_bad_fraction": 0.25}] * 2
    (probed,) = of(calls, "probe")
    specs, data_dir, tasks, out_dirs, _ = probed.args
    hubert, music2vec = map(str, runs)
    assert specs == [hubert, music2vec, f"random:{hubert}", f"random:{music2vec}", "mfcc", "mfcc+semitone"]
    baselines = ("random-musichubert-demo", "random-music2vec-demo", "mfcc", "mfcc+semitone")
    assert out_dirs == [*runs, *(out / "baselines" / name for name in baselines)]
    assert (data_dir, tasks) == (tmp_path / "data", TASKS)


def test_residuals_are_of_the_codebook_fitted_before_them_and_all_are_labelled_at_once(calls, tmp_path):
    overrides = ("joint_features=[{name: residual}, {name: residual}, {name: semitone}, {name: residual}]",)
    Pipeline(audio="music", out=tmp_path, presets=("musichubert-demo",), overrides=overrides).run()
    assert names(calls) == [
        *("prepare", *["fit_codebook"] * 5, "label", "choose_labels", "pretrain", "embed_files", "write_report"),
    ]
    fitted = of(calls, "fit_codebook")
    features = [call.args[2].feature for call in fitted]
    assert [feature.name for feature in features] == ["cqt", "residual", "residual", "semitone", "residual"]
    for before, number in ((0, 1), (1, 2), (3, 4)):
        directory = fitted[before].args[1]
        assert (features[number].codebook, features[number].codebook_hash) == (
            str(directory),
            f"hash of {directory.name}",
        )
    assert len({call.args[1] for call in fitted}) == 5
    (trained,) = of(calls, "pretrain")
    assert list(trained.args[0].target_features) == features
    assert [codebook.hash for codebook in of(calls, "label")[0].args[1]] == trained.kwargs["labels"]


@pytest.mark.parametrize("setting", ["data_dir", "tasks"])
def test_nothing_is_probed_without_data_or_tasks(calls, tmp_path, setting):
    given = {"data_dir": tmp_path, "tasks": TASKS} | {setting: None if setting == "data_dir" else ()}
    Pipeline(audio="music", out=tmp_path, presets=("music2vec-demo",), **given).run()
    assert not {"check_task", "probe"} & set(names(calls))


def test_a_data_set_that_is_missing_stops_it_before_anything_is_done(calls, tmp_path, monkeypatch):
    def check(name, data_dir, *, annotations_only):
        assert annotations_only
        if name == "nsynth_pitch":
            raise DataError(f"no NSynth under {data_dir}")

    monkeypatch.setattr(pipeline, "check_task", check)
    job = Pipeline(audio="music", out=tmp_path, presets=("music2vec-demo",), data_dir=tmp_path / "d", tasks=TASKS)
    with pytest.raises(
        DataError, match=r"nsynth_pitch cannot be probed: no NSynth under .*/d; or leave it out of --tasks"
    ):
        job.run()
    assert calls == []


def test_a_wrong_data_folder_stops_it_before_anything_is_done(tmp_path):
    job = Pipeline(audio="music", out=tmp_path, presets=("music2vec-demo",), data_dir=tmp_path / "wrong", tasks=TASKS)
    with pytest.raises(DataError, match=r"the data folder .*wrong does not exist"):
        job.run()
    assert list(tmp_path.iterdir()) == []


def test_codebooks_that_differ_in_any_setting_lie_side_by_side():
    def name(preset, *overrides):
        (first, *_) = load_config(PretrainConfig, preset=preset, overrides=overrides).label_configs
        return run_targets.codebook_name(first)

    demo_name = name("musichubert-demo")
    assert demo_name.startswith("cqt-k100-")
    assert name("musichubert-demo", "training.max_steps=3") == demo_name
    others = [
        name("musichubert-demo", "clustering.max_frames=2000000"),
        name("musichubert-demo", "feature.num_bins=60"),
        name("musichubert-demo", "clustering.seed=1"),
    ]
    assert len({demo_name, *others}) == 4
    assert all(other.startswith("cqt-k100-") for other in others)


@pytest.mark.parametrize("size", list(SIZES))
def test_the_demo_of_every_size_has_songs_to_embed(calls, tmp_path, monkeypatch, size):
    made = []
    monkeypatch.setattr(demo, "make_demo_data", lambda out, *, preset, seed: made.append((out, preset, seed)))
    assert demo.run_demo(tmp_path, preset=size, seed=3) == tmp_path / "report.html"
    assert made == [(tmp_path / "data", size, 3)]
    assert of(calls, "prepare")[0].args[0] == str(tmp_path / "data" / "pool")
    songs = demo.plan(size, 3).jobs_of("pool")[:3]
    for song in songs:
        path = tmp_path / "data" / song.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"sound")
    audio = of(calls, "embed_files")[0].args[1]
    from ray_musicssl.audio.sources import list_files

    found = list_files(audio)
    assert [Path(file.location) for file in found] == [tmp_path / "data" / song.path for song in songs]
    assert len(found) == 3
    assert not [file.problem for file in found if file.problem]
