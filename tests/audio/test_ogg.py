import io

import numpy as np
import pytest
import soundfile as sf

from ray_musicssl.audio.ogg import OggWalk, walk


def encoded(subtype: str, sample_rate: int) -> bytes:
    buffer = io.BytesIO()
    wave = 0.1 * np.random.default_rng(0).standard_normal(3 * sample_rate)
    sf.write(buffer, wave, sample_rate, format="OGG", subtype=subtype)
    return buffer.getvalue()


def found_in(data: bytes) -> OggWalk:
    found = walk(io.BytesIO(data))
    assert found is not None
    return found


CASES = [("VORBIS", 44_100), ("VORBIS", 128_000), ("OPUS", 48_000)]


@pytest.mark.parametrize(("subtype", "sample_rate"), CASES)
def test_one_stream_has_the_length_that_was_written(subtype, sample_rate):
    found = found_in(encoded(subtype, sample_rate))
    assert found.seconds == pytest.approx(3, abs=0.02)
    assert not found.is_cut


@pytest.mark.parametrize(("subtype", "sample_rate"), CASES)
def test_chained_streams_add_up(subtype, sample_rate):
    data = encoded(subtype, sample_rate)
    assert found_in(data + data) == OggWalk(seconds=2 * found_in(data).seconds, is_cut=False)


def test_a_cut_page_is_not_counted_but_noted():
    data = encoded("VORBIS", 44_100)
    found = found_in(data[: len(data) // 2])
    assert 0 < found.seconds < 2.9
    assert found.is_cut


def test_a_stream_without_its_last_page_is_cut_wherever_it_stands():
    data = encoded("VORBIS", 44_100)
    short = data[: data.rindex(b"OggS")]
    assert found_in(short).is_cut
    assert found_in(short + data).is_cut
    assert found_in(data + short).is_cut
    assert not found_in(data + b"TAG" + bytes(125)).is_cut


@pytest.mark.parametrize("data", [b"", b"OggS", b"RIFF" * 20, bytes(1000)])
def test_nothing_is_found_where_there_is_no_ogg(data):
    assert walk(io.BytesIO(data)) is None
