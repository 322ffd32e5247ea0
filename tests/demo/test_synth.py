"""Sound: it is there, it is in range, and every program has its own."""

from itertools import combinations

import numpy as np
import pytest

from ray_musicssl.demo.compose import compose
from ray_musicssl.demo.drums import PIECES, stroke_waveform
from ray_musicssl.demo.instruments import ORCHESTRA, Instrument
from ray_musicssl.demo.more_styles import STYLES
from ray_musicssl.demo.synth import frequency_hz, record, render_score, render_tone, tone_waveform
from ray_musicssl.demo.timbre import timbre_of

RATE = 16_000


def generator(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def spectrum(wave):
    power = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
    return power / power.sum()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("arrangement", ["band", "sung"])
def test_songs_are_audible_and_in_range(style, arrangement):
    wave = render_score(compose(2, 1, style, 4.0, arrangement=arrangement), RATE, generator())
    assert wave.shape == (4 * RATE,)
    assert wave.dtype == np.float32
    assert np.isfinite(wave).all()
    assert 0.4 < np.abs(wave).max() <= 1
    loudness = np.sqrt((wave.reshape(-1, RATE // 2) ** 2).mean(axis=1))
    assert (loudness > 10 ** (-40 / 20)).all()


def test_a_score_sounds_the_same_twice():
    score = compose(2, 1, "jazz", 3.0)
    first = render_score(score, RATE, generator(7))
    tone_waveform.cache_clear()
    np.testing.assert_array_equal(render_score(score, RATE, generator(7)), first)


@pytest.mark.parametrize("pitch", [33, 57, 69, 84])
@pytest.mark.parametrize("instrument", [Instrument("keyboard", 0), Instrument("flute", 1), Instrument("guitar", 6)])
def test_partials_of_a_tone_lie_on_multiples_of_its_pitch(instrument, pitch):
    power = spectrum(tone_waveform(instrument, pitch, 1, RATE, RATE)[:RATE].astype(np.float64))
    partial = np.arange(len(power)) / frequency_hz(pitch)  # one bin is 1 Hz
    tolerance = np.maximum(0.02 * partial, 5 / frequency_hz(pitch))  # vibrato and the window's width
    on_partials = np.abs(partial - np.round(partial)) <= tolerance
    assert power[on_partials & (partial > 0.5)].sum() > 0.8


def test_every_program_differs_from_every_other():
    spectra = {
        instrument: np.log(spectrum(tone_waveform(instrument, 60, 1, RATE // 2, RATE)[: RATE // 2])[:4000] + 1e-7)
        for instrument in ORCHESTRA
    }
    closest = min(
        float(np.sqrt(((spectra[one] - spectra[other]) ** 2).mean())) for one, other in combinations(ORCHESTRA, 2)
    )
    assert closest > 0.1  # nats, root mean square over 4,000 bins; one program rendered twice gives 0


def test_timbres_differ_inside_a_family():
    assert len({timbre_of(instrument).partials for instrument in ORCHESTRA}) == len(ORCHESTRA)


def test_louder_is_brighter():
    def centroid(layer):
        power = spectrum(tone_waveform(Instrument("brass", 0), 60, layer, RATE, RATE)[:RATE])
        return float((power * np.arange(len(power))).sum())

    assert centroid(0) < centroid(1) < centroid(2)


def test_kits_differ_and_strokes_end_in_silence():
    for piece in PIECES:
        first, second = stroke_waveform(0, piece, RATE), stroke_waveform(1, piece, RATE)
        assert not np.array_equal(first, second)
        assert np.abs(first).max() == pytest.approx(1)
        assert abs(first[-1]) < 1e-6


def test_beats_are_where_the_sound_changes():
    for style in ("blues", "disco", "hiphop", "rock"):
        score = compose(3, 2, style, 10.0)
        wave = render_score(score, RATE, generator())
        frames = np.lib.stride_tricks.sliding_window_view(wave, 512)[::160]
        flux = np.maximum(np.diff(np.log1p(100 * np.abs(np.fft.rfft(frames * np.hanning(512)))), axis=0), 0).sum(axis=1)
        middle = np.round((np.array([beat.time_s for beat in score.beats]) * RATE - 256) / 160).astype(int)
        at_beats = np.zeros(len(flux), bool)
        for offset in range(-2, 5):
            near = middle + offset
            at_beats[near[(near >= 0) & (near < len(flux))]] = True
        assert flux[at_beats].mean() > 1.4 * flux[~at_beats].mean(), style


def test_recordings_have_the_level_and_floor_that_were_drawn():
    levels_db = [20 * np.log10(np.abs(record(loud_middle(), 1.0, generator(seed))).max()) for seed in range(30)]
    assert -6.3 < min(levels_db) < -4
    assert -2 < max(levels_db) <= 0
    floors_db = [20 * np.log10(record(loud_middle(), 1.0, generator(seed))[:1000].std()) for seed in range(30)]
    assert -71 < min(floors_db) < -62
    assert -58 < max(floors_db) < -49


def loud_middle():
    wave = np.zeros(3000, np.float32)
    wave[1500:2000] = np.sin(np.arange(500) * 0.3)
    return wave


def test_single_tones_are_audible_at_every_pitch_and_velocity():
    for index, instrument in enumerate(ORCHESTRA):
        pitch, velocity = 24 + (index * 7) % 61, (25, 127)[index % 2]
        wave = render_tone(
            instrument, pitch=pitch, velocity=velocity, duration_s=0.5, sample_rate=RATE, rng=generator(index)
        )
        assert wave.shape == (RATE // 2,)
        assert 0.4 < np.abs(wave).max() <= 1
