"""Whether all of a file was decoded, and what the ledger says where it was not."""

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from ray_musicssl.audio import decode, mp3
from ray_musicssl.audio.decode import decode_file
from ray_musicssl.audio.ledger import LedgerRow
from ray_musicssl.audio.sources import list_files
from ray_musicssl.config.prepare import PrepareConfig


def noise(seconds: float, sample_rate: int) -> np.ndarray:
    shape = (int(seconds * sample_rate), 1)
    return np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)


def decoded(path: Path, **settings: float) -> LedgerRow:
    config = PrepareConfig(clip_s=2, min_clip_s=0.1, **settings)
    return decode_file(list_files(str(path))[0], config, [].append)


def variable_mp3(seconds: float = 10) -> bytes:
    wave = np.concatenate([0.002 * noise(seconds / 2, 44_100), noise(seconds / 2, 44_100)])
    buffer = io.BytesIO()
    sf.write(buffer, wave, 44_100, format="MP3", bitrate_mode="VARIABLE", compression_level=0.3)
    return buffer.getvalue()


def constant_mp3(sample_rate: int) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, noise(10, sample_rate), sample_rate, format="MP3")
    return buffer.getvalue()


def id3_tag(num_bytes: int) -> bytes:
    """An ID3v2 tag, as in front of most MP3 files; a cover can make it large."""
    return b"ID3\x04\x00\x00" + bytes(num_bytes >> shift & 127 for shift in (21, 14, 7, 0)) + b"c" * num_bytes


def id3v1_tag() -> bytes:
    return b"TAG".ljust(128, b" ")


def ape_tag(num_bytes: int) -> bytes:
    def frame(flags: int) -> bytes:
        numbers = (2000, num_bytes + 32, 1, flags, 0, 0)
        return b"APETAGEX" + b"".join(number.to_bytes(4, "little") for number in numbers)

    return frame(0xA0000000) + b"c" * num_bytes + frame(0x80000000)


def without_tag(data: bytes) -> bytes:
    found = mp3.walk(io.BytesIO(data))
    assert found is not None
    return data[found.ranges[0][0] :]


MP3_CASES = {
    "no tag": (without_tag, 10, "used"),
    "joined": (lambda data: data + data, 20, "used"),
    "junk first": (lambda data: b"\x00junk" * 3000 + data, 10, "used"),
    "cut, no tag": (lambda data: without_tag(data)[: len(data) // 2], None, "used"),
    "cut, with tag": (lambda data: data[: len(data) // 2], None, "partial"),
    "joined by a tag": (lambda data: data + id3_tag(1000) + data, 20, "used"),
    "joined by a cover": (lambda data: data + id3_tag(400_000) + data, 20, "used"),
    "joined by other tags": (lambda data: data + ape_tag(5000) + id3v1_tag() + id3_tag(9) * 2 + data, 20, "used"),
    "tags behind": (lambda data: data + ape_tag(400_000) + id3v1_tag(), 10, "used"),
    "a hole": (lambda data: without_tag(data)[:40_000] + bytes(300_000) + without_tag(data)[40_000:], 10, "partial"),
    "a hole behind": (lambda data: without_tag(data) + bytes(300_000), 10, "suspect"),
    "another rate behind": (lambda data: data + constant_mp3(22_050), 10, "suspect"),
    "damaged": (lambda data: data[:40_000] + bytes(3000) + data[43_000:], 9.7, "partial"),
}


@pytest.mark.parametrize("case", MP3_CASES)
def test_mp3s_are_decoded_to_their_last_frame(tmp_path, case):
    change, seconds, status = MP3_CASES[case]
    data = change(variable_mp3())
    (tmp_path / "a.mp3").write_bytes(data)
    row = decoded(tmp_path)
    found = mp3.walk(io.BytesIO(data))
    assert found is not None
    assert row.status == status
    assert (row.reason.partition(":")[0] in {"", "tail dropped"}) == (status == "used")
    assert row.seconds_out == pytest.approx(seconds or found.seconds, abs=0.2)


def test_the_time_limit_holds_while_frames_are_counted(tmp_path, monkeypatch):
    (tmp_path / "a.mp3").write_bytes(without_tag(variable_mp3()))
    ticks = itertools.count()
    monkeypatch.setattr(decode.time, "monotonic", lambda: next(ticks))  # each look at the clock takes a second
    row = decoded(tmp_path, decode_timeout_s=100)
    assert (row.status, row.reason) == ("partial", "decoding took over 100 s: the rest is left out")
    assert next(ticks) < 200


CUT = [("a.wav", "WAV", "PCM_16"), ("a.aiff", "AIFF", "PCM_24"), ("a.au", "AU", "ULAW"), ("a.wav", "RF64", "FLOAT")]


@pytest.mark.parametrize(("name", "container", "subtype"), CUT)
def test_a_cut_file_of_raw_samples_is_partial(tmp_path, name, container, subtype):
    buffer = io.BytesIO()
    sf.write(buffer, noise(10, 16_000), 16_000, format=container, subtype=subtype)
    (tmp_path / name).write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    row = decoded(tmp_path)
    assert (row.status, row.reason) == ("partial", "ends early: 5.0 of 10.0 s")
    assert (row.seconds_in, row.seconds_out) == (pytest.approx(10), pytest.approx(5, abs=0.01))


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("cut", ["inside a page", "between pages"])
def test_a_cut_ogg_is_partial(tmp_path, subtype, cut):
    buffer = io.BytesIO()
    sf.write(buffer, noise(10, 48_000), 48_000, format="OGG", subtype=subtype)
    data = buffer.getvalue()[: len(buffer.getvalue()) // 2]
    (tmp_path / "a.ogg").write_bytes(data[: data.rindex(b"OggS")] if cut == "between pages" else data)
    row = decoded(tmp_path)
    assert (row.status, row.reason) == ("partial", "ends early: the last page is missing")
    assert 3 < row.seconds_out < 5.2


def test_chained_ogg_is_suspect_and_tells_both_durations(tmp_path):
    sf.write(tmp_path / "one.ogg", noise(3, 44_100), 44_100)
    data = (tmp_path / "one.ogg").read_bytes()
    (tmp_path / "one.ogg").write_bytes(data + data)
    row = decoded(tmp_path)
    assert (row.status, row.seconds_in) == ("suspect", pytest.approx(6, abs=0.05))
    assert row.reason.startswith("holds more than was decoded: 6.0 s, decoded 3.0 s")
