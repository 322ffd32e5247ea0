import hashlib

import numpy as np
import pytest
import soxr

from ray_musicssl.audio.shard import Clip
from ray_musicssl.audio.waveform import ClipCutter, MonoResampler


def resampled(wave: np.ndarray, sample_rate: int, block: int) -> np.ndarray:
    resampler = MonoResampler(sample_rate)
    pieces = [resampler.add(wave[i : i + block].copy()) for i in range(0, len(wave), block)]
    return np.concatenate([*pieces, resampler.flush()])


def cutter(kept: list[Clip], **limits: int) -> ClipCutter:
    sizes = {"clip_samples": 10, "min_clip_samples": 4, "most_samples": 1000} | limits
    return ClipCutter("t", keep=kept.append, **sizes)


@pytest.mark.parametrize("sample_rate", [8_000, 11_127, 22_050, 44_100, 48_000, 128_000, 192_000])
def test_streaming_equals_resampling_the_whole(sample_rate):
    wave = np.random.default_rng(sample_rate).uniform(-0.5, 0.5, (2 * sample_rate, 1)).astype(np.float32)
    whole = soxr.resample(wave[:, 0], sample_rate, 16_000, quality="HQ")
    streamed = resampled(wave, sample_rate, block=sample_rate // 3)
    assert len(streamed) == len(whole)
    np.testing.assert_allclose(streamed, whole, atol=2e-6)


@pytest.mark.parametrize("sample_rate", [8_000, 44_100, 48_000, 192_000])
def test_a_tone_keeps_its_frequency_and_level(sample_rate):
    times = np.arange(2 * sample_rate) / sample_rate
    tone = (0.5 * np.sin(2 * np.pi * 1000 * times)).astype(np.float32)[:, None]
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(32_000) / 16_000)
    inside = slice(2000, -2000)  # away from the filter's ends
    np.testing.assert_allclose(resampled(tone, sample_rate, block=999)[inside], expected[inside], atol=1e-4)


def test_what_is_above_half_the_new_rate_is_gone():
    times = np.arange(96_000) / 48_000
    tone = np.sin(2 * np.pi * 12_000 * times).astype(np.float32)[:, None]
    assert np.abs(resampled(tone, 48_000, block=4800)[1000:-1000]).max() < 1e-4


def test_channels_are_averaged_and_bad_values_become_silence():
    resampler = MonoResampler(16_000)
    block = np.array([[0.5, 0.1], [np.nan, 0.2], [np.inf, -np.inf]], np.float32)
    np.testing.assert_allclose(resampler.add(block), [0.3, 0.1, 0.0], atol=1e-7)
    assert resampler.nan_samples == 3


def test_a_huge_value_does_not_drown_its_neighbours():
    wave = np.zeros((16_000, 1), np.float32)
    wave[8000] = 1e30
    assert np.abs(resampled(wave, 44_100, block=16_000)).max() < 20


def test_int16_audio_at_the_right_rate_passes_unchanged():
    pcm = np.arange(-32_768, 32_768, dtype=np.int64).astype(np.int16)
    kept: list[Clip] = []
    cut = cutter(kept, clip_samples=70_000, most_samples=70_000)
    cut.add(MonoResampler(16_000).add((pcm / np.float32(32768)).astype(np.float32)[:, None]))
    assert cut.close() == 0
    np.testing.assert_array_equal(kept[0].pcm, pcm)
    assert (cut.clipped_samples, cut.peak) == (0, 1.0)
    assert cut.rms == pytest.approx(float(np.sqrt(np.mean((pcm / 32768.0) ** 2))))
    assert cut.pcm_sha256 == hashlib.sha256(pcm.tobytes()).hexdigest()


@pytest.mark.parametrize("block", [1, 3, 10, 37])
def test_clips_do_not_depend_on_the_blocks(block):
    wave = np.random.default_rng(0).uniform(-1.2, 1.2, 37).astype(np.float32)
    kept: list[Clip] = []
    cut = cutter(kept)
    for start in range(0, 37, block):
        cut.add(wave[start : start + block])
    assert cut.close() == 0
    assert [len(clip.pcm) for clip in kept] == [10, 10, 10, 7]
    assert [clip.clip_id for clip in kept] == ["t-00000", "t-00001", "t-00002", "t-00003"]
    assert [clip.offset_s for clip in kept] == [0, 10 / 16_000, 20 / 16_000, 30 / 16_000]
    expected = np.clip(np.rint(wave.astype(np.float64) * 32768), -32768, 32767)
    np.testing.assert_array_equal(np.concatenate([clip.pcm for clip in kept]), expected)
    assert cut.clipped_samples == np.count_nonzero(np.rint(wave.astype(np.float64) * 32768) != expected)


def test_a_short_tail_is_dropped_and_told():
    kept: list[Clip] = []
    cut = cutter(kept)
    cut.add(np.zeros(13, np.float32))
    assert cut.close() == 3 / 16_000
    assert (cut.num_clips, cut.kept_samples, cut.num_samples) == (1, 10, 13)


def test_nothing_beyond_the_limit_is_taken():
    kept: list[Clip] = []
    cut = cutter(kept, most_samples=15)
    for _ in range(4):
        cut.add(np.zeros(9, np.float32))
    cut.close()
    assert cut.is_full
    assert [len(clip.pcm) for clip in kept] == [10, 5]
