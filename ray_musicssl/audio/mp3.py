"""MP3 files as a chain of frames: how long they really are, and how to make a decoder believe it.

A decoder that finds no Xing tag guesses the length from the first frame's bit rate. For a variable bit rate that can
be far too short, and what lies behind it is never read. Walking the frame headers gives the true length.

Source: ISO/IEC 11172-3 and 13818-3 (layer III headers); Xing, Info and VBRI tags as LAME and Fraunhofer write them.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # by version bits, Hz
_KBPS_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG1 = 3
_WINDOW_BYTES = 1 << 18  # held at once while the next frame behind damage is looked for
_TAG_HEAD_BYTES = 32  # enough of any tag to know its length
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
    skipped_bytes: int  # of damage between the stretches; ID3 and APE tags, as in joined files, are none
    tail_bytes: (
        int  # behind the last frame, but for tags: damage, a stream of another kind, or not walked for lack of time
    )

    @property
    def audio_bytes(self) -> int:
        """Bytes of all frames that hold audio."""
        return sum(stop - start for start, stop in self.ranges)

    @property
    def tail_seconds(self) -> float:
        """About how long the tail would play if it were more of the same."""
        return self.seconds * self.tail_bytes / self.audio_bytes if self.audio_bytes else 0.0

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


def _never() -> bool:
    return False


def walk(file: BinaryIO, is_late: Callable[[], bool] = _never) -> Mp3Walk | None:
    """Follow the frames from one end of a seekable file to the other; None if it holds no layer III stream.

    Tags, and junk between frames, are stepped over, however long they are; memory use does not depend on the file's
    length. As soon as `is_late`, the rest counts as tail.
    """
    places = _places(file, size_bytes=file.seek(0, io.SEEK_END), is_late=is_late)
    place = next(places)
    first = place.header
    if first is None:
        return None
    tag_frames = _tagged_frames(file, place.offset, first)
    stop = place.offset + first.size_bytes
    num_frames, ranges = (1, [(place.offset, stop)]) if tag_frames is None else (0, [(stop, stop)])
    skipped_bytes = 0
    for place in places:
        if place.header is None:
            break
        num_frames, stop = num_frames + 1, place.offset + place.header.size_bytes
        skipped_bytes += place.junk_bytes
        if place.offset == ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], stop)
        else:
            ranges.append((place.offset, stop))
    return Mp3Walk(
        first=first,
        ranges=tuple(ranges),
        num_frames=num_frames,
        tag_frames=tag_frames,
        skipped_bytes=skipped_bytes,
        tail_bytes=place.junk_bytes,
    )


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A whole frame, or the end of the file."""

    offset: int
    header: FrameHeader | None  # None: the end
    junk_bytes: int  # between it and the frame before that are neither frame nor tag


def _places(file: BinaryIO, *, size_bytes: int, is_late: Callable[[], bool]) -> Iterator[_Place]:
    """Every whole frame of the first stream in the file, then the end; the caller may move the file's position."""
    first: FrameHeader | None = None
    offset = junk_bytes = 0
    while offset < size_bytes and not is_late():
        file.seek(offset)
        head = file.read(_TAG_HEAD_BYTES)
        tag_bytes = _tag_bytes(head)
        if 0 < tag_bytes <= size_bytes - offset:
            offset += tag_bytes
            continue
        header = parse_header(head)
        # A lone header at the very start may be chance; one that follows a frame or a tag is not.
        if header is None or (not header.is_like(first) if first else offset == 0):
            found = _resync(file, offset, first, size_bytes=size_bytes, is_late=is_late)
            if found is None:
                break
            junk_bytes += found[0] - offset
            offset, header = found
        if offset + header.size_bytes > size_bytes:
            break
        first = first or header
        yield _Place(offset=offset, header=header, junk_bytes=junk_bytes)
        offset += header.size_bytes
        junk_bytes = 0
    yield _Place(offset=size_bytes, header=None, junk_bytes=junk_bytes + size_bytes - offset)


def _tag_bytes(head: bytes) -> int:
    """The length of the tag that begins with `head`; 0 if none does."""
    if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 0x80:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]  # seven bits a byte
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head[:8] == b"APETAGEX" and len(head) == _TAG_HEAD_BYTES:
        is_header = bool(head[23] & 0x20)  # else a footer, whose items stood before it
        return 32 + (int.from_bytes(head[12:16], "little") if is_header else 0)
    return 128 if head[:3] == b"TAG" else 0


def _resync(
    file: BinaryIO, offset: int, like: FrameHeader | None, *, size_bytes: int, is_late: Callable[[], bool]
) -> tuple[int, FrameHeader] | None:
    """The next place where frames of one stream follow each other."""
    while offset < size_bytes and not is_late():
        file.seek(offset)
        window = file.read(_WINDOW_BYTES + 3)  # a header may lie across the seam
        at = window.find(b"\xff")
        while 0 <= at < _WINDOW_BYTES:
            header = parse_header(window[at : at + 4])
            if (
                header is not None
                and (like is None or header.is_like(like))
                and _is_followed(file, offset + at, header)
            ):
                return offset + at, header
            at = window.find(b"\xff", at + 1)
        offset += _WINDOW_BYTES
    return None


def _is_followed(file: BinaryIO, offset: int, header: FrameHeader) -> bool:
    """Whether two more frames follow: in a large file of another kind, chance makes pairs but no triples."""
    following: FrameHeader | None = header
    for _ in range(2):
        offset += following.size_bytes
        file.seek(offset)
        following = parse_header(file.read(4))
        if following is None or not following.is_like(header):
            return False
    return True


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
