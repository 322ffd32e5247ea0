import io

import numpy as np
import pytest
import soundfile as sf

from ray_musicssl.audio.chunks import promised_ratio

KINDS = [("WAV", "LITTLE"), ("WAV", "BIG"), ("WAVEX", "FILE"), ("RF64", "FILE"), ("AIFF", "FILE"), ("AU", "BIG")]


def encoded(container: str = "WAV", endian: str = "FILE") -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, np.zeros((9000, 2)), 44_100, format=container, subtype="PCM_16", endian=endian)
    return buffer.getvalue()


def ratio(data: bytes) -> float:
    return promised_ratio(io.BytesIO(data))


@pytest.mark.parametrize(("container", "endian"), KINDS)
def test_the_promise_is_compared_with_what_is_there(container, endian):
    data = encoded(container, endian)
    assert ratio(data) == 1
    assert ratio(data[:-27_000]) == pytest.approx(4)  # 9000 of 36000 bytes are left


def test_chunks_before_and_behind_the_sound_are_stepped_over():
    data = encoded()
    at = data.index(b"data")
    before = b"LIST" + (5).to_bytes(4, "little") + b"words\0"  # an odd size is padded
    padded = data[:at] + before + data[at:]
    assert ratio(padded + b"id3 " + bytes(8)) == 1
    assert ratio(padded[:-27_000]) == pytest.approx(4)


@pytest.mark.parametrize("size", [0, 0x7FFF_F000, 0x7FFF_FF00, 0x8000_0000, 0xFFFF_FFFF])
def test_sizes_that_stand_for_an_unknown_length_promise_nothing(size):
    data = encoded()
    at = data.index(b"data") + 4
    assert ratio(data[:at] + size.to_bytes(4, "little") + data[at + 4 :]) == 1


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", encoded()[:44], encoded("FLAC"), bytes(900), b".snd"]
)
def test_what_holds_no_sound_of_this_kind_promises_nothing(data):
    assert ratio(data) == 1
