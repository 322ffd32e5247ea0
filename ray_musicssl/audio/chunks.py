"""WAV, AIFF and AU files as they describe themselves: how much sound they promise, beside how much is there.

A decoder takes what is there for the whole, and a file whose end is missing looks like a shorter one.

Source: the RIFF/WAVE, RF64 (EBU Tech 3306) and AIFF-C descriptions; the AU header of NeXT and Sun.
"""

import io
from typing import BinaryIO, Literal

_KINDS: dict[bytes, tuple[Literal["little", "big"], bytes]] = {  # byte order, and the chunk that holds the sound
    b"RIFF": ("little", b"data"),
    b"RIFX": ("big", b"data"),
    b"RF64": ("little", b"data"),
    b"BW64": ("little", b"data"),
    b"FORM": ("big", b"SSND"),
}
_MOST_CHUNKS = 10_000  # before the sound; more is damage
_BEYOND_32_BITS = 0xFFFF_FFFF
# What programs write that cannot know the length; around 2^31 are those of sox (0x7ffff000) and arecord (0x7fffff00).
_UNKNOWN = (range(1), range(0x7FFF_F000, 0x8000_0001), range(_BEYOND_32_BITS, _BEYOND_32_BITS + 1))


def promised_ratio(file: BinaryIO) -> float:
    """Bytes of sound that the header promises for each that is there: 1 if the file is whole, 2 if half of it is missing.

    Also 1 if there is no sound at all, the header promises nothing, or it is a file of another kind.
    """
    size_bytes = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] == b".snd" and len(head) == 12:
        start, promised = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
    else:
        start, promised = _sound_chunk(file, head[:4], size_bytes)
    present = size_bytes - start
    is_known = not any(promised in numbers for numbers in _UNKNOWN)
    return promised / present if is_known and 0 < present < promised else 1.0


def _sound_chunk(file: BinaryIO, magic: bytes, size_bytes: int) -> tuple[int, int]:
    """Where the sound begins, and how many bytes of it there should be; 0 if that is not said."""
    order, wanted = _KINDS.get(magic, ("little", b""))
    offset, long_size = 12, 0
    for _ in range(_MOST_CHUNKS if wanted else 0):
        file.seek(offset)
        name, size = file.read(4), int.from_bytes(file.read(4), order)
        offset += 8
        if name == b"ds64":  # stands before the sound where 32 bits are too few
            long_size = int.from_bytes(file.read(16)[8:], order)
        if name == wanted:
            before = 8 if name == b"SSND" else 0  # offset and block size, counted with the sound
            return offset + before, long_size if size == _BEYOND_32_BITS else size - before
        offset += size + size % 2
        if offset >= size_bytes:
            break
    return size_bytes, 0
