"""Singing: in tune, each with a voice of their own, and every technique does what it is named for."""

import numpy as np
import pytest

from ray_musicssl.demo.score import Sung
from ray_musicssl.demo.synth import frequency_hz
from ray_musicssl.demo.techniques import WAYS, way_of
from ray_musicssl.demo.voice import sung_waveform
from ray_musicssl.demo.voices import SONG_SINGERS, TECHNIQUES, VOCALSET_SINGERS, VOWELS, singer

RATE = 16_000


def sing(number=0, technique="straight", *, vowel="a", pitch=None, seconds=1.0, rate=RATE):
    pitch = singer(number).lowest + 5 if pitch is None else pitch
    sung = Sung(singer=number, technique=technique, vowel=vowel)
    return sung_waveform(sung, frequency_hz(pitch), round(seconds * rate), rate)[: round(seconds * rate)]


def heard_hz(wave, around_hz, rate=RATE):
    """The pitch by autocorrelation, near an expected one; the peak is refined by a parabola."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 2 * len(wave))) ** 2
    likeness = np.fft.irfft(spectrum)
    lags = np.arange(int(rate / around_hz / 1.5), int(rate / around_hz * 1.5))
    best = lags[np.argmax(likeness[lags])]
    low, middle, high = likeness[best - 1 : best + 2]
    return rate / (best + 0.5 * (low - high) / (low - 2 * middle + high))


def pitch_curve(wave, pitch):
    """Cents off the written pitch, 100 times a second, by autocorrelation of 50 ms."""
    around = frequency_hz(pitch)
    blocks = np.lib.stride_tricks.sliding_window_view(wave, 800)[::160]
    return 1200 * np.log2(np.array([heard_hz(block, around) for block in blocks]) / around)


def modulation(values, low_hz, high_hz, frames_per_s=100):
    """The part of the fluctuation of a curve that lies in a band."""
    power = np.abs(np.fft.rfft((values - values.mean()) * np.hanning(len(values)), 1024)) ** 2
    rates_hz = np.arange(len(power)) * frames_per_s / 1024
    return power[(rates_hz >= low_hz) & (rates_hz < high_hz)].sum() / power.sum()


def loudness(wave, frames_per_s):
    return np.sqrt((wave[: len(wave) // RATE * RATE].reshape(-1, RATE // frames_per_s) ** 2).mean(axis=1))


def log_spectrum(wave):
    """Mean power in 20 bands of equal width on the mel scale, in dB, without its mean."""
    blocks = np.lib.stride_tricks.sliding_window_view(wave, 1024)[::512] * np.hanning(1024)
    power = (np.abs(np.fft.rfft(blocks)) ** 2).mean(axis=0)
    mel = 2595 * np.log10(1 + np.arange(513) * RATE / 1024 / 700)
    bands = np.minimum((mel / mel[-1] * 20).astype(int), 19)
    levels = 10 * np.log10(np.bincount(bands, power, 20) + 1e-6)
    return levels - levels.mean()


@pytest.mark.parametrize("number", [0, 4, 9, 13, 19, 21, 30])
@pytest.mark.parametrize("vowel", VOWELS)
def test_a_straight_tone_is_in_tune(number, vowel):
    pitch = singer(number).lowest + 7
    wave = sing(number, vowel=vowel, pitch=pitch, seconds=1.2)[3200:]
    cents = 1200 * np.log2(heard_hz(wave, frequency_hz(pitch)) / frequency_hz(pitch))
    assert abs(cents) < 30


def test_pitch_is_the_same_at_another_sample_rate():
    pitch = singer(3).lowest + 4
    high = sing(3, pitch=pitch, rate=44_100)[8820:]
    assert 1200 * np.log2(heard_hz(high, frequency_hz(pitch), 44_100) / frequency_hz(pitch)) == pytest.approx(0, abs=30)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_every_technique_is_audible_finite_and_of_unit_power(technique):
    for number in (2, 12):
        wave = sing(number, technique)
        assert wave.dtype == np.float32
        assert np.isfinite(wave).all()
        # The attack takes a little off the power of one.
        assert 0.85 < np.sqrt(np.mean(wave**2)) < 1.02


def test_a_tone_is_a_function_of_its_arguments():
    first = sing(5, "breathy")
    sung_waveform.cache_clear()
    np.testing.assert_array_equal(sing(5, "breathy"), first)
    assert not np.array_equal(sing(5, "breathy", vowel="o"), first)


def recorded(number, steps):
    """The mean spectrum of a singer over all vowels and some tones of the range."""
    tones = [sing(number, vowel=vowel, pitch=singer(number).lowest + step) for vowel in VOWELS for step in steps]
    return log_spectrum(np.concatenate(tones))


def test_singers_differ_more_from_each_other_than_from_themselves():
    for numbers in (range(9), range(9, 20)):
        first, second = ([recorded(number, steps) for number in numbers] for steps in ((2, 5, 9), (3, 7, 10)))
        apart = np.array([[np.abs(one - two).mean() for two in second] for one in first])
        own, others = np.diag(apart), apart[~np.eye(len(apart), dtype=bool)]
        assert np.median(others) > 1.5 * np.median(own)


def test_women_sing_higher_and_have_shorter_throats():
    women = [singer(number) for number in VOCALSET_SINGERS if singer(number).sex == "female"]
    men = [singer(number) for number in VOCALSET_SINGERS if singer(number).sex == "male"]
    assert (len(women), len(men)) == (9, 11)
    assert min(person.lowest for person in women) > max(person.lowest for person in men)
    assert np.mean([person.tract for person in women]) > 1.1 * np.mean([person.tract for person in men])


def test_no_two_singers_are_alike_and_none_sings_in_songs_and_vocalset():
    assert len({singer(number) for number in (*VOCALSET_SINGERS, *SONG_SINGERS)}) == 44
    assert not set(VOCALSET_SINGERS) & set(SONG_SINGERS)


@pytest.mark.parametrize("number", [1, 11])
def test_vibrato_swings_the_pitch_four_to_seven_times_a_second(number):
    pitch = singer(number).lowest + 5
    curves = {t: pitch_curve(sing(number, t, pitch=pitch, seconds=2.0), pitch)[30:] for t in ("vibrato", "straight")}
    assert modulation(curves["vibrato"], 4, 7) > 0.7
    assert curves["vibrato"].std() > 3 * curves["straight"].std()


@pytest.mark.parametrize("number", [1, 11])
def test_a_trill_goes_up_a_tone_and_back(number):
    pitch = singer(number).lowest + 5
    curve = pitch_curve(sing(number, "trill", pitch=pitch, seconds=2.0), pitch)[30:]
    assert np.percentile(curve, 90) - np.percentile(curve, 10) == pytest.approx(200, abs=60)


@pytest.mark.parametrize("number", [1, 11])
def test_trillo_repeats_the_tone_and_lip_trill_flutters(number):
    straight, trillo, lips = (
        loudness(sing(number, t, seconds=2.0), 200)[30:] for t in ("straight", "trillo", "lip_trill")
    )
    assert trillo.min() < 0.25 * trillo.max()
    assert modulation(trillo, 4, 10, 200) > 0.5
    assert modulation(lips, 17, 32, 200) > 0.5
    assert straight.std() < 0.3 * trillo.std()


def noisiness(wave):
    """The part of a wave that its own next period does not repeat, at its best lag."""
    blocks = np.lib.stride_tricks.sliding_window_view(wave, 1600)[3200:8000:800]
    found = []
    for block in blocks:
        likeness = np.fft.irfft(np.abs(np.fft.rfft(block, 4096)) ** 2)[:1600] / np.arange(1600, 0, -1)
        found.append(1 - likeness[30:400].max() / likeness[0])
    return float(np.mean(found))


@pytest.mark.parametrize("number", [1, 11])
def test_breathy_tones_have_more_noise(number):
    assert noisiness(sing(number, "breathy")) > noisiness(sing(number)) + 0.1


def test_fry_is_far_below_the_written_pitch_and_belting_is_brighter():
    # Fry: the strongest repetition of the loudness' own course is slower than 70 a second.
    level = np.abs(sing(12, "vocal_fry", seconds=2.0)[3200:])
    smooth = np.convolve(level, np.hanning(64), mode="same")[::16]
    power = np.abs(np.fft.rfft((smooth - smooth.mean()) * np.hanning(len(smooth)))) ** 2
    rates_hz = np.fft.rfftfreq(len(smooth), 16 / RATE)
    assert power[(rates_hz > 15) & (rates_hz < 70)].sum() > 0.3 * power[rates_hz < 400].sum()
    for number in (2, 14):
        centroid = {
            technique: (power := np.abs(np.fft.rfft(sing(number, technique))) ** 2)
            @ np.arange(len(power))
            / power.sum()
            for technique in ("belt", "straight", "breathy")
        }
        assert centroid["belt"] > 1.1 * centroid["straight"]


def test_speech_falls_and_an_inhaled_tone_swells():
    pitch = singer(13).lowest + 12
    curve = pitch_curve(sing(13, "spoken", pitch=pitch, seconds=1.0), pitch - 4)
    assert curve[10:25].mean() > curve[-25:-10].mean() + 200
    level = loudness(sing(13, "inhaled", seconds=2.0), 10)
    assert level[-4:].mean() > 2 * level[:4].mean()


def test_strength_leads_from_a_straight_tone_to_the_technique():
    for technique in TECHNIQUES:
        assert way_of(technique, 0.0) == WAYS["straight"]
        assert way_of(technique, 1.0) == WAYS[technique]
    assert WAYS["straight"].vibrato_times < way_of("vibrato", 0.5).vibrato_times < WAYS["vibrato"].vibrato_times
