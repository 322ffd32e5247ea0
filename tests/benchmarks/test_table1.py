"""The study of all tasks: its rows, and recordings that are joined for the control on speech."""

import numpy as np
import pytest
import soundfile

from benchmarks.table1 import BUDGETS, SAMPLE_RATE, Study, join_recordings
from ray_musicssl.config.loading import load_config
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import ConfigError, DataError


def record(folder, name, seconds, value):
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / name, np.full(round(seconds * SAMPLE_RATE), value), SAMPLE_RATE)


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_rows_of_a_study_are_presets_that_learn_the_labels_of_its_pools(budget, tmp_path):
    study = Study(out=tmp_path, budget=budget, sets="small", seeds=(1,), speech=tmp_path)
    configs = [load_config(PretrainConfig, preset=preset) for preset, _ in study.rows.values()]
    labelled = [config.target_features for config in configs if config.uses_labels]
    assert labelled == [configs[0].target_features] * (len(configs) - 1)  # all but Music2Vec
    assert len({config.encoder.dim for config in configs}) == 1


@pytest.fixture
def speech_dir(tmp_path):
    """26 s, then 14 s of two recordings, of which 30 s make one file."""
    record(tmp_path / "speech", "a.wav", 26.0, 0.25)
    record(tmp_path / "speech", "b.wav", 14.0, 0.5)
    return tmp_path / "speech"


def test_recordings_are_joined_by_path_and_a_second_call_finds_them(speech_dir, tmp_path):
    unfinished = tmp_path / "out" / "joined.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "0007.wav").write_bytes(b"of a killed call")
    out = join_recordings(speech_dir, tmp_path / "out" / "joined")
    (path,) = out.iterdir()
    audio, rate = soundfile.read(path)
    np.testing.assert_array_equal(audio, np.repeat([0.25, 0.5], [26 * rate, 4 * rate]))
    before = path.stat().st_mtime_ns
    assert join_recordings(speech_dir, out) == out
    assert path.stat().st_mtime_ns == before
    assert sorted(entry.name for entry in out.parent.iterdir()) == ["joined", "joined.json"]


def test_what_was_made_from_other_recordings_is_not_taken_for_these(speech_dir, tmp_path):
    out = join_recordings(speech_dir, tmp_path / "joined")
    record(tmp_path / "other", "c.wav", 31.0, 0.1)
    with pytest.raises(
        ConfigError, match=r"made from 2 recordings in .*speech, and .*other holds others \(1\); .*--out"
    ):
        join_recordings(tmp_path / "other", out)
    (tmp_path / "joined.json").unlink()  # as an earlier version left it
    assert join_recordings(speech_dir, out) == out


@pytest.mark.parametrize(("seconds", "said"), [((), r"0 recordings .* of 0\.0 s"), ((4.0, 3.5), r"2 .* of 7\.5 s")])
def test_a_folder_with_too_little_in_it_is_told_so(tmp_path, seconds, said):
    (tmp_path / "speech").mkdir()
    for number, length in enumerate(seconds):
        record(tmp_path / "speech", f"{number}.wav", length, 0.1)
    with pytest.raises(DataError, match=f"{said} in all; at least 30 s are needed"):
        join_recordings(tmp_path / "speech", tmp_path / "out")
