import io
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile as sf
import soxr

from ray_musicssl.audio.decode import decode_file
from ray_musicssl.audio.ledger import LedgerRow
from ray_musicssl.audio.shard import Clip
from ray_musicssl.audio.sources import list_files
from ray_musicssl.audio.writer import PartWriter
from ray_musicssl.config.prepare import PrepareConfig

CONFIG = PrepareConfig(clip_s=2)


def noise(seconds: float, sample_rate: int, channels: int = 1) -> np.ndarray:
    shape = (int(seconds * sample_rate), channels)
    return np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)


def decoded(path: Path, config: PrepareConfig = CONFIG) -> tuple[LedgerRow, list[Clip]]:
    clips: list[Clip] = []
    row = decode_file(list_files(str(path))[0], config, clips.append)
    assert row.num_clips == len(clips)
    assert row.seconds_out == sum(len(clip.pcm) for clip in clips) / 16_000
    return row, clips


def audio_of(clips: list[Clip]) -> np.ndarray:
    return np.concatenate([clip.pcm for clip in clips]) / 32768


CASES = [
    ("a.wav", "PCM_16", 44_100, 2, 1e-4),
    ("a.wav", "PCM_24", 48_000, 1, 1e-4),
    ("a.wav", "DOUBLE", 8_000, 1, 1e-4),
    ("a.wav", "ULAW", 16_000, 1, 0.02),
    ("a.wav", "FLOAT", 192_000, 6, 1e-4),
    ("a.wav", "PCM_U8", 11_127, 1, 0.02),
    ("a.flac", "PCM_24", 96_000, 2, 1e-4),
    ("a.aiff", "PCM_16", 22_050, 64, 1e-4),
    ("a.au", "PCM_16", 44_100, 1, 1e-4),
    ("a.ogg", "VORBIS", 128_000, 1, None),
    ("a.opus", "OPUS", 48_000, 2, None),
    ("a.mp3", "MPEG_LAYER_III", 22_050, 1, None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}")
def test_streaming_equals_decoding_the_whole_file(tmp_path, case):
    name, subtype, sample_rate, channels, tolerance = case
    wave = noise(5.3, sample_rate, channels)
    container = {"opus": "OGG", "aiff": "AIFF"}.get(name.rpartition(".")[2])
    sf.write(tmp_path / name, wave, sample_rate, subtype=subtype, format=container)
    row, clips = decoded(tmp_path)
    whole, _ = sf.read(tmp_path / name, dtype="float32", always_2d=True)
    expected = np.clip(soxr.resample(whole.mean(axis=1), sample_rate, 16_000, quality="HQ"), -1, 1)
    assert (row.status, row.reason, row.codec, row.channels) == ("used", "", subtype, channels)
    assert [len(clip.pcm) for clip in clips] == [32_000, 32_000, len(expected) - 64_000]
    np.testing.assert_allclose(audio_of(clips), expected, atol=1 / 32768)
    if tolerance:  # lossless: the file holds what was meant
        source = soxr.resample(wave.mean(axis=1), sample_rate, 16_000, quality="HQ")
        np.testing.assert_allclose(audio_of(clips), source, atol=tolerance)


def flac(seconds: float = 6.0) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, noise(seconds, 16_000), 16_000, format="FLAC")
    return buffer.getvalue()


def wav(num_samples: int) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, noise(num_samples / 16_000, 16_000)[:num_samples], 16_000, format="WAV")
    return buffer.getvalue()


def with_rate(data: bytes, sample_rate: int) -> bytes:
    return data[:24] + sample_rate.to_bytes(4, "little") + data[28:]


REJECTED = {
    "empty.wav": (b"", "empty file"),
    "text.mp3": (b"these are words, not music\n" * 50, "not decodable"),
    "page.flac": (b"<!doctype html><title>404</title>" * 40, "not decodable"),
    "image.wav": (b"\x89PNG\r\n\x1a\n" + bytes(3000), "not decodable"),
    "gzip.flac": (b"\x1f\x8b\x08" + bytes(3000), "not decodable"),
    "header_only.wav": (wav(0), "no samples"),
    "one_sample.wav": (wav(1), "too short"),
    "399.wav": (wav(399), "too short"),
    "rate_1.wav": (with_rate(wav(50_000), 1), "unusable sample rate"),
    "rate_2e31.wav": (with_rate(wav(50_000), 2**31 - 1), "unusable sample rate"),
    "cut_header.flac": (flac()[:30], "not decodable"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_what_gives_no_clip_is_rejected_with_a_reason(tmp_path, name):
    data, reason = REJECTED[name]
    (tmp_path / name).write_bytes(data)
    row, clips = decoded(tmp_path)
    assert (row.status, row.reason.partition(":")[0], clips) == ("rejected", reason, [])
    assert row.size_bytes == len(data)


@pytest.mark.parametrize(
    "change", [lambda data: data[: len(data) * 7 // 10], lambda data: data[:40_000] + bytes(9000) + data[49_000:]]
)
def test_a_damaged_flac_keeps_what_was_decoded(tmp_path, change: Callable[[bytes], bytes]):
    (tmp_path / "a.flac").write_bytes(change(flac()))
    row, clips = decoded(tmp_path)
    assert row.status == "partial"
    assert "decoding failed" in row.reason
    assert row.seconds_in == 6
    np.testing.assert_allclose(audio_of(clips), noise(6, 16_000)[: int(row.seconds_out * 16_000), 0], atol=1 / 32768)


def test_reading_on_after_each_block_does_not_damage_an_mp3(tmp_path):
    # soundfile's own read seeks after every block, which costs up to 1 % of full scale at this rate.
    sf.write(tmp_path / "a.mp3", noise(6, 22_050), 22_050)
    _, clips = decoded(tmp_path, PrepareConfig(min_clip_s=0.1))
    whole, _ = sf.read(tmp_path / "a.mp3", dtype="float32")
    expected = np.clip(soxr.resample(whole, 22_050, 16_000, quality="HQ"), -1, 1)
    np.testing.assert_allclose(audio_of(clips), expected, atol=1 / 32768)


def test_nan_and_infinity_are_counted_and_silent(tmp_path):
    wave = noise(2, 16_000)
    wave[100:110], wave[200] = np.nan, np.inf
    sf.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")
    row, clips = decoded(tmp_path)
    assert (row.status, row.nan_samples) == ("used", 11)
    assert not clips[0].pcm[100:110].any()


def test_samples_beyond_full_scale_are_clipped_and_counted(tmp_path):
    wave = noise(2, 16_000)
    wave[50:57] = 1.5
    sf.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")
    row, clips = decoded(tmp_path)
    assert (row.clipped_samples, row.peak) == (7, 32767 / 32768)
    assert (clips[0].pcm[50:57] == 32767).all()


def test_a_dropped_tail_is_in_the_ledger(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(32_000 + 4_000))
    row, _ = decoded(tmp_path)
    assert (row.status, row.reason, row.seconds_in, row.seconds_out) == ("used", "tail dropped: 0.250 s", 2.25, 2.0)


def test_a_file_over_the_limits_is_cut_there(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(16_000 * 10))
    row, _ = decoded(tmp_path, PrepareConfig(clip_s=2, max_file_hours=3 / 3600))
    assert (row.status, row.seconds_out, row.reason.partition(":")[0]) == (
        "partial",
        3,
        "longer than 0.000833333 hours",
    )
    row, _ = decoded(tmp_path, PrepareConfig(clip_s=2, decode_timeout_s=1e-9))
    assert (row.status, row.seconds_out) == ("partial", 1)


def test_extensions_may_lie(tmp_path):
    (tmp_path / "a.mp3").write_bytes(flac())
    assert decoded(tmp_path)[0].container == "FLAC"


def test_files_that_change_or_go_after_the_listing_are_rejected(tmp_path):
    for name in ("changed.wav", "gone.wav", "fifo.wav"):
        (tmp_path / name).write_bytes(wav(32_000))
    changed, fifo, gone = list_files(str(tmp_path))
    (tmp_path / "changed.wav").write_bytes(wav(33_000))
    (tmp_path / "gone.wav").unlink()
    (tmp_path / "fifo.wav").unlink()
    os.mkfifo(tmp_path / "fifo.wav")
    reasons = [decode_file(file, CONFIG, print).reason for file in (changed, fifo, gone)]
    assert reasons == ["changed since it was listed", "not a regular file", "missing"]


def test_an_object_of_a_store_gives_the_same_clips_as_the_file(tmp_path):
    (tmp_path / "a.flac").write_bytes(flac())
    here, there = [], []
    row_here = decode_file(list_files(str(tmp_path))[0], CONFIG, here.append)
    row_there = decode_file(list_files(f"file://{tmp_path}")[0], CONFIG, there.append)
    assert row_here == row_there
    np.testing.assert_array_equal(audio_of(here), audio_of(there))


def peak_bytes(path: Path) -> int:
    """Most that Python, numpy and pyarrow held at once while a file became a part."""
    before = pa.total_allocated_bytes()
    arrow_bytes: list[int] = []
    tracemalloc.start()
    with PartWriter(path.with_suffix(".parquet"), clips_per_row_group=8) as writer:

        def keep(clip: Clip) -> None:
            writer.add(clip)
            arrow_bytes.append(pa.total_allocated_bytes() - before)

        decode_file(list_files(str(path))[0], PrepareConfig(), keep)
    peak = tracemalloc.get_traced_memory()[1] + max(arrow_bytes)
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_length_of_the_file(tmp_path):
    for minutes in (5, 50):
        with sf.SoundFile(tmp_path / f"{minutes}.flac", "w", 16_000, 1) as file:
            for _ in range(minutes):
                file.write(np.zeros(60 * 16_000, np.int16))
    short, long = peak_bytes(tmp_path / "5.flac"), peak_bytes(tmp_path / "50.flac")
    assert (tmp_path / "50.parquet").stat().st_size > 96_000_000
    assert long < 1.15 * short
    assert long < 80_000_000
