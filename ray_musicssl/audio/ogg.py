"""Ogg files as a chain of pages: how much audio all their streams hold, and whether their end is there.

A file may hold several streams one after the other (chained: radio recordings, joined files). libsndfile decodes only
the first one and says nothing; the page headers tell how much there is.
Nor does it say that a file was cut: each stream has a last page, marked as such.

Source: RFC 3533 (pages), RFC 7845 (Opus: 48 kHz positions, pre-skip), the Vorbis I specification, the Ogg FLAC mapping.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import SEEK_END
from typing import BinaryIO

_HEADER_BYTES = 27
_FIRST_PAGE, _LAST_PAGE = 0x02, 0x04
_NO_POSITION = (1 << 64) - 1


@dataclass(kw_only=True)
class _Stream:
    sample_rate: int
    pre_skip: int
    position: int = 0  # samples up to the end of the last page seen
    has_ended: bool = False


@dataclass(frozen=True, kw_only=True)
class OggWalk:
    """What the page headers of a file say."""

    seconds: float  # of audio in the pages of all streams
    is_cut: bool  # whether a stream lacks its last page


def _never() -> bool:
    return False


def walk(file: BinaryIO, is_late: Callable[[], bool] = _never) -> OggWalk | None:
    """Follow the pages of a seekable file; None if no page of a known codec is found.

    Damage between pages, a last page that is cut, or `is_late` ends the count.
    """
    size_bytes = file.seek(0, SEEK_END)
    streams: dict[int, _Stream] = {}
    ended: list[_Stream] = []
    offset = 0
    while not is_late():
        file.seek(offset)
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES or header[:4] != b"OggS":
            break
        sizes = file.read(header[26])
        body_bytes = sum(sizes)
        if offset + _HEADER_BYTES + len(sizes) + body_bytes > size_bytes:
            break
        serial = int.from_bytes(header[14:18], "little")
        position = int.from_bytes(header[6:14], "little")
        if header[5] & _FIRST_PAGE:
            stream = _stream_of(file.read(min(body_bytes, 64)))
            # Joined copies of one file share a serial number: the earlier stream is set aside, not forgotten.
            if serial in streams:
                ended.append(streams.pop(serial))
            if stream is not None:
                streams[serial] = stream
        elif serial in streams and position != _NO_POSITION:
            streams[serial].position = max(streams[serial].position, position)
        if header[5] & _LAST_PAGE and serial in streams:
            streams[serial].has_ended = True
        offset += _HEADER_BYTES + len(sizes) + body_bytes
    found = [*ended, *streams.values()]
    if not found:
        return None
    seconds = sum(max(0, stream.position - stream.pre_skip) / stream.sample_rate for stream in found)
    return OggWalk(seconds=seconds, is_cut=not all(stream.has_ended for stream in found))


def _stream_of(packet: bytes) -> _Stream | None:
    """What a stream's first packet says, or None if its codec is not one of ours."""
    if packet[:7] == b"\x01vorbis" and len(packet) >= 16:
        rate, pre_skip = int.from_bytes(packet[12:16], "little"), 0
    elif packet[:8] == b"OpusHead" and len(packet) >= 12:
        rate, pre_skip = 48_000, int.from_bytes(packet[10:12], "little")
    elif packet[:5] == b"\x7fFLAC" and len(packet) >= 30:
        rate, pre_skip = int.from_bytes(packet[27:30], "big") >> 4, 0  # 20 bits, 10 bytes into STREAMINFO
    else:
        return None
    return _Stream(sample_rate=rate, pre_skip=pre_skip) if rate > 0 else None
