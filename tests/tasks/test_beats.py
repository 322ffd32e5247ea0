"""The beat decoder against outputs of the reference implementation, and what follows from its definition."""

from pathlib import Path

import numpy as np
import pytest

from ray_musicssl.tasks.beats import beat_labels, decode_beats, decode_beats_by_peaks, decode_beats_of_many

GOLDEN_PATH = Path(__file__).parent.parent / "golden" / "madmom_dbnbeat_golden.npz"
with np.load(GOLDEN_PATH) as golden:
    GOLDEN = dict(golden)
CASES = [name.removeprefix("act__") for name in GOLDEN if name.startswith("act__")]


def clicks(period_s: float, *, length_s: float = 8.0, frame_rate: float = 50.0) -> np.ndarray:
    frames = np.arange(round(length_s * frame_rate)) / frame_rate
    distance = np.abs((frames + period_s / 2) % period_s - period_s / 2)
    return np.clip(0.95 * np.exp(-((distance / 0.02) ** 2)), 0.01, None)


@pytest.mark.parametrize("threshold", [0.0, 0.05])
@pytest.mark.parametrize("case", CASES)
def test_beats_equal_those_of_madmom(case, threshold):
    frame_rate = float(case.split("_")[0])
    beats = decode_beats(GOLDEN[f"act__{case}"], frame_rate, threshold=threshold)
    np.testing.assert_array_equal(beats, GOLDEN[f"beats__{case}__thr{threshold:g}"])


def test_golden_file_has_all_its_cases_and_most_have_beats():
    assert len(CASES) == 45
    assert sum(len(GOLDEN[f"beats__{case}__thr0"]) > 2 for case in CASES) > 30


@pytest.mark.parametrize("frame_rate", [50, 75, 100])
def test_curves_decoded_together_give_the_beats_of_each_alone(frame_rate):
    curves = [GOLDEN[f"act__{case}"] for case in CASES if case.startswith(f"{frame_rate}_")]
    curves = [*curves, curves[0][:173], curves[1][:401]]
    together = decode_beats_of_many(curves, frame_rate)
    for curve, beats in zip(curves, together, strict=True):
        np.testing.assert_array_equal(beats, decode_beats(curve, frame_rate))


def test_silence_has_no_beats():
    assert len(decode_beats(np.zeros(300), 50.0)) == 0
    assert len(decode_beats(np.empty(0), 50.0)) == 0


def test_saturated_activations_decode():
    curve = (clicks(0.5) > 0.9).astype(np.float32)
    beats = decode_beats(curve, 50.0)
    assert np.allclose(np.diff(beats), 0.5, atol=0.021)


def test_a_missing_onset_is_filled_in_by_tempo_but_not_by_peaks():
    curve = clicks(0.5)
    curve[95:106] = 0.01  # the beat at 2 s
    assert np.any(np.abs(decode_beats(curve, 50.0) - 2.0) < 0.05)
    assert not np.any(np.abs(decode_beats_by_peaks(curve, 50.0) - 2.0) < 0.1)


@pytest.mark.parametrize("curve", [np.array([0.1, 1.2]), np.array([-0.1, 0.5]), np.array([np.nan, 0.5])])
def test_what_is_no_probability_is_refused(curve):
    with pytest.raises(ValueError, match="give probabilities"):
        decode_beats(curve, 50.0)


def test_a_frame_rate_too_low_for_tempo_is_refused():
    with pytest.raises(ValueError, match="frame_rate"):
        decode_beats(np.full(10, 0.5), 1.0)


def test_peaks_are_found_once_each_plateaus_included():
    curve = np.zeros(100)
    curve[[10, 50, 51, 90]] = [0.9, 0.6, 0.6, 0.2]
    np.testing.assert_allclose(decode_beats_by_peaks(curve, 50.0), [0.2, 1.0])


def test_labels_mark_the_nearest_frame_and_in_training_its_neighbours():
    beats_s = [0.0, 0.109, 0.18, 5.0]  # frames 0, 5.45 -> 5, 9, and one past the end
    np.testing.assert_array_equal(np.flatnonzero(beat_labels(beats_s, 10, 50.0, widen=False)), [0, 5, 9])
    np.testing.assert_array_equal(np.flatnonzero(beat_labels(beats_s, 10, 50.0, widen=True)), [0, 1, 4, 5, 6, 8, 9])
