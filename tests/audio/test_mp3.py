import io

import numpy as np
import pytest
import soundfile as sf

from ray_musicssl.audio import mp3
from ray_musicssl.audio.mp3 import parse_header, walk
from ray_musicssl.audio.tagged_mp3 import TaggedMp3, xing_frame

SECONDS = 12


def encoded(*, sample_rate: int = 44_100, channels: int = 2, mode: str = "VARIABLE") -> bytes:
    """A quiet tone and then noise, so that the first frames of a variable bit rate mislead."""
    times = np.arange(sample_rate * SECONDS) / sample_rate
    noise = 0.2 * np.random.default_rng(0).standard_normal(times.size)
    wave = np.where(times < SECONDS / 2, 0.001 * np.sin(2 * np.pi * 440 * times), noise)
    buffer = io.BytesIO()
    sf.write(
        buffer, np.stack([wave] * channels, 1), sample_rate, format="MP3", bitrate_mode=mode, compression_level=0.3
    )
    return buffer.getvalue()


def found_in(data: bytes) -> mp3.Mp3Walk:
    found = walk(io.BytesIO(data))
    assert found is not None
    return found


def untagged(data: bytes) -> bytes:
    return data[found_in(data).ranges[0][0] :]


@pytest.mark.parametrize(("sample_rate", "channels"), [(44_100, 2), (48_000, 1), (22_050, 2), (16_000, 1), (8_000, 1)])
def test_walk_counts_the_frames_that_the_encoder_says_it_wrote(sample_rate, channels):
    data = encoded(sample_rate=sample_rate, channels=channels)
    found = found_in(data)
    assert found.tag_frames == found.num_frames > 0
    assert found.first.sample_rate == sample_rate
    assert found.ranges == ((found.ranges[0][0], len(data)),)


def test_header_of_a_known_frame():
    # MPEG 1 layer III, 128 kbit/s, 44.1 kHz, no padding, joint stereo: 144 * 128000 / 44100 = 417 bytes.
    header = parse_header(bytes([0xFF, 0xFB, 0x90, 0x64]))
    assert header is not None
    assert (header.size_bytes, header.num_samples, header.is_mono, header.tag_offset) == (417, 1152, False, 36)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfb\x90", b"\xff\xfb\xf0\x64", b"\xff\xfb\x9c\x64", b"\xff\xfd\x90\x64", b"RIFF"]
)
def test_what_is_no_layer_iii_header_is_refused(data):
    assert parse_header(data) is None


def test_libsndfile_alone_shortens_a_variable_bit_rate_without_a_tag():
    # The reason for this module: if this fails, it may go.
    assert sf.SoundFile(io.BytesIO(untagged(encoded()))).frames < 0.8 * SECONDS * 44_100


def test_all_of_a_variable_bit_rate_is_decoded_behind_a_made_up_tag():
    data = encoded()
    bare = untagged(data)
    wave = sf.SoundFile(TaggedMp3(io.BytesIO(bare), found_in(bare))).read()
    whole = sf.SoundFile(io.BytesIO(data)).read()
    delay = 576  # LAME's delay, which only its own tag tells the decoder to drop
    np.testing.assert_array_equal(wave[delay : delay + len(whole)], whole)


def test_joined_files_are_decoded_to_the_end():
    data = encoded()
    found = found_in(data + data)
    assert found.seconds == pytest.approx(2 * SECONDS, abs=0.2)
    assert len(sf.SoundFile(TaggedMp3(io.BytesIO(data + data), found)).read()) / 44_100 == pytest.approx(24, abs=0.2)


def test_id3_tags_and_junk_are_stepped_over():
    bare = untagged(encoded())
    id3 = b"ID3\x04\x00\x00" + bytes([0, 0, 8, 0]) + bytes(1024)
    assert found_in(id3 + id3 + bare).ranges == ((2 * len(id3), 2 * len(id3) + len(bare)),)
    assert found_in(b"\xff\x00junk" * 999 + bare).num_frames == found_in(bare).num_frames


def test_damage_in_the_middle_is_cut_out():
    bare = untagged(encoded())
    middle = len(bare) // 2
    found = found_in(bare[:middle] + bytes(5000) + bare[middle:])
    assert found.skipped_bytes >= 5000
    assert found.num_frames >= found_in(bare).num_frames - 2


@pytest.mark.parametrize("into_header", range(6))
def test_a_hole_is_crossed_wherever_the_next_frame_begins(into_header):
    # The search reads 256 KB at a time; a header may lie across the end of what is read.
    found = found_in(encoded())
    bare = untagged(encoded())
    middle = _offset_of_frame(bare, 100)
    hole = bytes((1 << 18) - into_header)
    crossed = found_in(bare[:middle] + hole + bare[middle:])
    assert crossed.skipped_bytes == len(hole)
    assert (crossed.num_frames, crossed.tail_bytes) == (found.num_frames, 0)


def _offset_of_frame(bare: bytes, number: int) -> int:
    offset = 0
    for _ in range(number):
        header = parse_header(bare[offset : offset + 4])
        assert header is not None
        offset += header.size_bytes
    return offset


def test_a_walk_that_is_late_leaves_the_rest_as_tail():
    bare = untagged(encoded())
    looks = iter([False] * 10 + [True] * 9)
    found = walk(io.BytesIO(bare), lambda: next(looks))
    assert found is not None
    assert found.num_frames <= 10
    assert found.audio_bytes + found.tail_bytes == len(bare)


def test_a_cut_last_frame_is_not_counted():
    bare = untagged(encoded())
    assert found_in(bare[:-1]).num_frames == found_in(bare).num_frames - 1


@pytest.mark.parametrize("data", [b"", b"hello, this is text" * 100, bytes(5000), b"\xff" * 5000])
def test_no_stream_is_found_where_there_is_none(data):
    assert walk(io.BytesIO(data)) is None


def test_reading_in_small_pieces_gives_the_same_bytes():
    bare = untagged(encoded())
    data = bare[:3000] + bytes(500) + bare[3000:]
    found = found_in(data)
    expected = xing_frame(found) + b"".join(data[start:stop] for start, stop in found.ranges)
    pieces = TaggedMp3(io.BytesIO(data), found)
    assert b"".join(iter(lambda: pieces.read(777), b"")) == expected
    pieces.seek(-100, io.SEEK_END)
    assert pieces.read(200) == expected[-100:]
