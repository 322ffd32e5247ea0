import io

import numpy as np
import pytest
import soundfile as sf

from ray_musicssl.audio.ogg import total_seconds


def encoded(subtype: str, sample_rate: int) -> bytes:
    buffer = io.BytesIO()
    wave = 0.1 * np.random.default_rng(0).standard_normal(3 * sample_rate)
    sf.write(buffer, wave, sample_rate, format="OGG", subtype=subtype)
    return buffer.getvalue()


CASES = [("VORBIS", 44_100), ("VORBIS", 128_000), ("OPUS", 48_000)]


@pytest.mark.parametrize(("subtype", "sample_rate"), CASES)
def test_one_stream_has_the_length_that_was_written(subtype, sample_rate):
    assert total_seconds(io.BytesIO(encoded(subtype, sample_rate))) == pytest.approx(3, abs=0.02)


@pytest.mark.parametrize(("subtype", "sample_rate"), CASES)
def test_chained_streams_add_up(subtype, sample_rate):
    data = encoded(subtype, sample_rate)
    assert total_seconds(io.BytesIO(data + data)) == pytest.approx(6, abs=0.04)


def test_a_cut_page_is_not_counted():
    data = encoded("VORBIS", 44_100)
    cut = total_seconds(io.BytesIO(data[: len(data) // 2]))
    assert cut is not None
    assert 0 < cut < 2.9


@pytest.mark.parametrize("data", [b"", b"OggS", b"RIFF" * 20, bytes(1000)])
def test_nothing_is_found_where_there_is_no_ogg(data):
    assert total_seconds(io.BytesIO(data)) is None
