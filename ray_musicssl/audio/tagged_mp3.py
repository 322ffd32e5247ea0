"""An MP3 file as a decoder believes it: its whole frames behind a tag with their true number.

Source: the Xing tag as LAME writes it.
"""

import io
from bisect import bisect_right
from itertools import accumulate
from typing import BinaryIO

from ray_musicssl.audio.mp3 import Mp3Walk, parse_header


def xing_frame(found: Mp3Walk) -> bytes:
    """A silent frame with a Xing tag that holds the walk's true length."""
    first = found.first
    kbps_index = 9  # any rate whose frame has room for the tag; 128 (MPEG 1) or 80 kbit/s (MPEG 2) always has
    header = bytes(
        (
            0xFF,
            0xE0 | first.version << 3 | 1 << 1 | 1,  # layer III, no checksum
            kbps_index << 4 | first.rate_index << 2,
            0xC0 if first.is_mono else 0x40,
        )
    )
    parsed = parse_header(header)
    assert parsed is not None
    frame = bytearray(parsed.size_bytes)
    frame[:4] = header
    total_bytes = min(found.audio_bytes + len(frame), 0xFFFFFFFF)
    flags = 0b11  # the number of frames and the number of bytes follow
    tag = b"Xing" + b"".join(value.to_bytes(4, "big") for value in (flags, found.num_frames, total_bytes))
    frame[parsed.tag_offset : parsed.tag_offset + len(tag)] = tag
    return bytes(frame)


class TaggedMp3(io.RawIOBase):
    """A file's audio frames, and nothing else, behind a Xing frame made from a walk: a decoder reads all of them."""

    def __init__(self, file: BinaryIO, found: Mp3Walk) -> None:
        self._file = file
        self._head = xing_frame(found)
        lengths = (stop - start for start, stop in found.ranges)
        self._starts = list(accumulate(lengths, initial=len(self._head)))  # of each range in here, and of the end
        self._offsets = [start for start, _ in found.ranges]
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; gives the new position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._starts[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Fill `buffer` as far as the file goes; gives the number of bytes."""
        view = memoryview(buffer).cast("B")
        num_read = 0
        while num_read < len(view):
            piece = self._piece(len(view) - num_read)
            if not piece:
                break
            view[num_read : num_read + len(piece)] = piece
            num_read += len(piece)
            self._position += len(piece)
        return num_read

    def _piece(self, most_bytes: int) -> bytes:
        """Bytes from the position to the end of the range it is in, at most `most_bytes`."""
        if self._position < len(self._head):
            return self._head[self._position : self._position + most_bytes]
        number = bisect_right(self._starts, self._position) - 1
        if number >= len(self._offsets):
            return b""
        into_range = self._position - self._starts[number]
        self._file.seek(self._offsets[number] + into_range)
        return self._file.read(min(most_bytes, self._starts[number + 1] - self._position))
