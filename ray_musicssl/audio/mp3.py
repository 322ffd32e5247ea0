"""MP3 files as a chain of frames: how long they really are, and how to make a decoder believe it.

A decoder that finds no Xing tag guesses the length from the first frame's bit rate. For a variable bit rate that can
be far too short, and what lies behind it is never read. Walking the frame headers gives the true length.

Source: ISO/IEC 11172-3 and 13818-3 (layer III headers); Xing, Info and VBRI tags as LAME and Fraunhofer write them.
"""

import io
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import BinaryIO

_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # by version bits, Hz
_KBPS_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG1 = 3
_RESYNC_BYTES = 1 << 18  # how far behind damage or junk the next frame is looked for
_VBRI_OFFSET = 36  # from the start of the frame, whatever the channels


@dataclass(frozen=True, kw_only=True)
class FrameHeader:
    """The four bytes before each frame, decoded."""

    version: int  # 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
    rate_index: int
    sample_rate: int
    size_bytes: int  # of the whole frame
    is_mono: bool

    @property
    def num_samples(self) -> int:
        """Samples a channel."""
        return 1152 if self.version == _MPEG1 else 576

    @property
    def tag_offset(self) -> int:
        """Where in a frame a Xing tag stands: behind the header and the side information."""
        if self.version == _MPEG1:
            return 4 + (17 if self.is_mono else 32)
        return 4 + (9 if self.is_mono else 17)

    def is_like(self, other: "FrameHeader") -> bool:
        """Whether both can belong to one stream."""
        return self.version == other.version and self.rate_index == other.rate_index


@dataclass(frozen=True, kw_only=True)
class Mp3Walk:
    """What the frame headers of a file say."""

    first: FrameHeader
    ranges: tuple[tuple[int, int], ...]  # (start, stop) byte offsets of the stretches of whole frames that hold audio
    num_frames: int  # in those stretches
    tag_frames: int | None  # frames that a Xing, Info or VBRI tag promises; None: no tag

    @property
    def audio_bytes(self) -> int:
        """Bytes of all frames that hold audio."""
        return sum(stop - start for start, stop in self.ranges)

    @property
    def skipped_bytes(self) -> int:
        """Bytes between the stretches: damage, or tags in the middle of joined files."""
        return sum(later[0] - earlier[1] for earlier, later in pairwise(self.ranges))

    @property
    def num_samples(self) -> int:
        """Samples a channel, counted frame by frame."""
        return self.num_frames * self.first.num_samples

    @property
    def seconds(self) -> float:
        """Duration, counted frame by frame."""
        return self.num_samples / self.first.sample_rate

    @property
    def tagged_seconds(self) -> float:
        """Duration that the tag promises; 0 without one."""
        return (self.tag_frames or 0) * self.first.num_samples / self.first.sample_rate


def parse_header(data: bytes) -> FrameHeader | None:
    """Decode a layer III frame header, or None if `data` does not begin with one.

    Free-format frames (no bit rate in the header) are not understood.
    """
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer = (data[1] >> 3) & 3, (data[1] >> 1) & 3
    kbps_index, rate_index, padding = data[2] >> 4, (data[2] >> 2) & 3, (data[2] >> 1) & 1
    if version == 1 or layer != 1 or kbps_index in (0, 15) or rate_index == 3:
        return None
    rate = _RATES[version][rate_index]
    kbps = (_KBPS_MPEG1 if version == _MPEG1 else _KBPS_MPEG2)[kbps_index]
    size = (144 if version == _MPEG1 else 72) * kbps * 1000 // rate + padding
    return FrameHeader(
        version=version, rate_index=rate_index, sample_rate=rate, size_bytes=size, is_mono=data[3] >> 6 == 3
    )


def walk(file: BinaryIO) -> Mp3Walk | None:
    """Follow the frames from one end of a seekable file to the other; None if it holds no layer III stream.

    Leading ID3v2 tags, and junk between frames, are stepped over; memory use does not depend on the file's length.
    """
    frames = _frames(file, _skip_id3(file), size_bytes=file.seek(0, io.SEEK_END))
    entry = next(frames, None)
    if entry is None:
        return None
    start, first = entry
    tag_frames = _tagged_frames(file, start, first)
    stop = start + first.size_bytes
    num_frames, ranges = (1, [(start, stop)]) if tag_frames is None else (0, [(stop, stop)])
    for start, header in frames:
        num_frames, stop = num_frames + 1, start + header.size_bytes
        if start == ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], stop)
        else:
            ranges.append((start, stop))
    return Mp3Walk(first=first, ranges=tuple(ranges), num_frames=num_frames, tag_frames=tag_frames)


def _skip_id3(file: BinaryIO) -> int:
    """The offset behind all leading ID3v2 tags."""
    offset = 0
    while True:
        file.seek(offset)
        tag = file.read(10)
        if len(tag) < 10 or tag[:3] != b"ID3":
            return offset
        size = tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]  # seven bits a byte
        offset += 10 + size + (10 if tag[5] & 0x10 else 0)


def _frames(file: BinaryIO, offset: int, *, size_bytes: int) -> Iterator[tuple[int, FrameHeader]]:
    """Every whole frame of the first stream in the file, with its offset; the caller may move the file's position."""
    first: FrameHeader | None = None
    while True:
        file.seek(offset)
        header = parse_header(file.read(4))
        # A lone header at the very start may be chance; one that follows a frame or a tag is not.
        if header is None or (not header.is_like(first) if first else offset == 0):
            found = _resync(file, offset, first)
            if found is None:
                return
            offset, header = found
        if offset + header.size_bytes > size_bytes:
            return
        first = first or header
        yield offset, header
        offset += header.size_bytes


def _resync(file: BinaryIO, offset: int, like: FrameHeader | None) -> tuple[int, FrameHeader] | None:
    """The next place where two frames of one stream follow each other."""
    file.seek(offset)
    window = file.read(_RESYNC_BYTES)
    at = window.find(b"\xff")
    while at >= 0:
        header = parse_header(window[at : at + 4])
        if header is not None and (like is None or header.is_like(like)):
            file.seek(offset + at + header.size_bytes)
            following = parse_header(file.read(4))
            if following is not None and following.is_like(header):
                return offset + at, header
        at = window.find(b"\xff", at + 1)
    return None


def _tagged_frames(file: BinaryIO, offset: int, header: FrameHeader) -> int | None:
    """The number of frames that the tag in a stream's first frame promises (0: a tag without one), or None."""
    file.seek(offset)
    frame = file.read(header.size_bytes)
    xing = frame[header.tag_offset :]
    if xing[:4] in (b"Xing", b"Info"):
        has_count = len(xing) >= 12 and xing[7] & 1
        return int.from_bytes(xing[8:12], "big") if has_count else 0
    vbri = frame[_VBRI_OFFSET:]
    if vbri[:4] == b"VBRI" and len(vbri) >= 18:
        return int.from_bytes(vbri[14:18], "big")
    return None


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
