"""The plan of a corpus, and its files."""

import pickle
from pathlib import PurePosixPath

import numpy as np
import pytest
import soundfile

from ray_musicssl.demo.corpus import SETS, FileJob, make_file, plan
from ray_musicssl.demo.instruments import TRAIN_ONLY_FAMILY
from ray_musicssl.demo.presets import PRESETS
from ray_musicssl.errors import ConfigError


@pytest.fixture(scope="module")
def demo():
    return plan("demo", 0)


def test_a_plan_depends_on_its_arguments_alone(demo):
    assert plan("demo", 0, list(reversed(SETS))) == demo
    assert pickle.loads(pickle.dumps(demo)) == demo  # noqa: S301
    assert plan("demo", 1) != demo


@pytest.mark.parametrize("preset", PRESETS)
def test_paths_are_unique(preset):
    paths = [job.path for job in plan(preset, 0).jobs]
    assert len(set(paths)) == len(paths)


def test_a_set_is_the_same_whichever_others_are_made(demo):
    assert list(plan("demo", 0, ["gtzan"]).jobs) == demo.jobs_of("gtzan")


def test_pool_and_probe_sets_share_no_song():
    seeds = {(seed, name): {job.seed for job in plan("tiny", seed, [name]).jobs} for seed in range(3) for name in SETS}
    assert all(len(found) == 1 for found in seeds.values())
    assert len(set.union(*seeds.values())) == len(seeds)


def test_every_song_of_a_set_has_its_own_index(demo):
    for name in SETS:
        indices = [job.index for job in demo.jobs_of(name)]
        assert len(set(indices)) == len(indices)


def test_genres_are_balanced_in_every_split(demo):
    for split, size in PRESETS["demo"].gtzan_per_genre.by_split():
        styles = [job.style for job in demo.jobs_of("gtzan", split)]
        assert {style: styles.count(style) for style in set(styles)} == dict.fromkeys(set(styles), size)
        assert len(set(styles)) == 10


def test_every_split_has_all_24_keys(demo):
    for split, size in PRESETS["demo"].tracks_per_key.by_split():
        keys = [job.key for job in demo.jobs_of("giantsteps", split)]
        assert len(set(keys)) == 24
        assert all(keys.count(key) == size for key in set(keys))


def test_instruments_of_train_are_in_no_other_split(demo):
    tones = {split: [job.tone for job in demo.jobs_of("nsynth", split)] for split in ("train", "valid", "test")}
    instruments = {split: {tone.instrument for tone in found} for split, found in tones.items()}
    assert not instruments["train"] & (instruments["valid"] | instruments["test"])
    assert not instruments["valid"] & instruments["test"]
    families = {split: {instrument.family for instrument in found} for split, found in instruments.items()}
    assert len(families["train"]) == 11
    assert families["valid"] == families["test"] == families["train"] - {TRAIN_ONLY_FAMILY}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_pitch_to_be_guessed_is_one_to_learn_from(preset):
    corpus = plan(preset, 0, ["nsynth"])
    pitches = {
        split: {job.tone.pitch for job in corpus.jobs_of("nsynth", split)} for split in ("train", "valid", "test")
    }
    assert pitches["test"] | pitches["valid"] <= pitches["train"]
    assert all(24 <= pitch <= 84 for pitch in pitches["train"])


def test_a_fingerprint_changes_with_each_thing_that_matters():
    plans = [plan("tiny", 0), plan("tiny", 1), plan("demo", 0), plan("tiny", 0, ["pool"])]
    assert len({corpus.fingerprint for corpus in plans}) == len(plans)
    assert plan("tiny", 0).fingerprint == plans[0].fingerprint


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("demmo", 0, SETS), 'did you mean "demo"'),
        (("demo", 0, ["gtzam"]), 'did you mean "gtzan"'),
        (("demo", 0, []), "no demo set is named"),
        (("demo", -1, SETS), "seed is -1"),
    ],
)
def test_wrong_words_are_refused_with_a_hint(arguments, hint):
    with pytest.raises(ConfigError, match=hint):
        plan(*arguments)


@pytest.mark.parametrize(
    ("container", "sample_rate", "channels"),
    [("wav", 22_050, 1), ("flac", 44_100, 2), ("ogg", 16_000, 1), ("mp3", 16_000, 1)],
)
def test_files_have_the_promised_container_rate_channels_and_length(tmp_path, container, sample_rate, channels):
    job = FileJob(
        path=f"pool/song.{container}",
        set_name="pool",
        split="pool",
        seed=0,
        index=0,
        style="pop",
        container=container,
        sample_rate=sample_rate,
        channels=channels,
        duration_s=2.0,
    )
    make_file(job, tmp_path)
    info = soundfile.info(tmp_path / job.path)
    assert info.format == container.upper()
    assert (info.samplerate, info.channels) == (sample_rate, channels)
    assert info.duration == pytest.approx(2.0, abs=0.1)
    audio, _ = soundfile.read(tmp_path / job.path)
    assert np.isfinite(audio).all()
    assert np.abs(audio).max() > 0.3
    assert [path.name for path in (tmp_path / "pool").iterdir()] == [PurePosixPath(job.path).name]


def test_the_tiny_pool_has_every_container():
    assert {job.container for job in plan("tiny", 0, ["pool"]).jobs} == {"wav", "flac", "mp3", "ogg"}
