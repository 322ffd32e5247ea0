"""One audio file to clips and a row of the ledger, in flat memory.

A file can hurt only itself: what is wrong with it becomes a status and a reason, and what was decoded before is kept.
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, Protocol, cast

import soundfile as sf

from ray_musicssl.audio import mp3, ogg
from ray_musicssl.audio.chunks import promised_ratio
from ray_musicssl.audio.frames import samples_to_seconds, seconds_to_samples
from ray_musicssl.audio.ledger import LedgerRow, Status, join_reasons
from ray_musicssl.audio.shard import Clip
from ray_musicssl.audio.source_bytes import opened_bytes, patiently
from ray_musicssl.audio.sources import AudioFile
from ray_musicssl.audio.tagged_mp3 import TaggedMp3
from ray_musicssl.audio.waveform import ClipCutter, MonoResampler
from ray_musicssl.config.prepare import PrepareConfig
from ray_musicssl.errors import DataError

BLOCK_S = 1.0  # decoded at a time: long enough for speed, and the most that damage takes with it
_BLOCK_VALUES = 1 << 20  # at most, over all channels
_LOWEST_RATE, _HIGHEST_RATE = 1_000, 768_000  # Hz; outside it is damage, not audio
_UNKNOWN_LENGTH = 1 << 62  # libsndfile gives 2^63 - 1 frames where the header gives none
_SHORT_FRACTION, _SHORT_S = 0.02, 0.2  # what may be missing at the end unremarked: encoder delay, padding


class Decode(Protocol):
    """What turns one file into clips: `decode_file`, or a stand-in."""

    def __call__(self, file: AudioFile, config: PrepareConfig, keep: Callable[[Clip], None]) -> LedgerRow:
        """Hand every clip of `file` to `keep`, in order, and give the file's row."""
        ...


class _ForwardSound(sf.SoundFile):
    """A sound that is only read forwards.

    After every read of a seekable sound soundfile seeks to where it stands already. That empties the decoder's bit
    reservoir, and the next MP3 frame comes out damaged.
    """

    def seekable(self) -> bool:
        """Never: reading goes on where it stopped."""
        return False


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """A file that the decoder has opened."""

    sound: sf.SoundFile
    header_s: float  # seconds the header promises; 0 if it does not say
    walk_s: float = 0.0  # seconds a walk through the file's frames or pages counts; 0 if there was none
    skipped_bytes: int = 0  # of damage that the decoder does not get to see
    tail_bytes: int = 0  # behind the last frame, of which the decoder makes nothing
    tail_s: float = 0.0  # what they would be in seconds, if they were sound
    is_cut: bool = False  # whether the last page of a stream is missing

    @property
    def promised_s(self) -> float:
        return max(self.header_s, self.walk_s)


@dataclass(frozen=True, kw_only=True)
class _Ending:
    """How the decoding of a file went."""

    error: str  # why it stopped before the end; empty: it did not
    decoded_s: float  # of the input


def decode_file(file: AudioFile, config: PrepareConfig, keep: Callable[[Clip], None]) -> LedgerRow:
    """Decode a file, hand each clip to `keep` as it fills, and give the file's row for the ledger.

    Clips are mono int16 at 16 kHz, `config.clip_s` long but for the last one; a last one below `config.min_clip_s` is
    dropped. A file with a `problem` is not opened. What is wrong with the file's content is not raised.

    Raises:
        EnvironmentFaultError: if machine, network or store keep the file from being read.
        Exception: what `keep` raises.
    """
    if file.problem:
        return rejected(file, file.problem)
    deadline = _Deadline(config.decode_timeout_s)
    with ExitStack() as stack:
        try:
            opened = patiently(lambda: _open(file, stack, deadline), file)
        except (sf.SoundFileError, DataError) as error:
            return rejected(file, str(error) if isinstance(error, DataError) else f"not decodable: {_message(error)}")
        # Outside the `try`: an error of `keep` is not the file's.
        return _cut(file, opened, config, deadline, keep)


class _Deadline:
    """When to give a file up; calling it says whether that time has come."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._ends = time.monotonic() + limit_s

    def __call__(self) -> bool:
        return time.monotonic() > self._ends


def rejected(file: AudioFile, reason: str) -> LedgerRow:
    """The row of a file that gives no clip and of which nothing more is known."""
    return LedgerRow(
        path=file.shown_path, track_id=file.track_id, status="rejected", reason=reason, size_bytes=file.size_bytes
    )


def _open(file: AudioFile, stack: ExitStack, deadline: _Deadline) -> _Opened:
    """Open a file's bytes and its decoder; `stack` closes them, unless opening failed."""
    with ExitStack() as mine:
        opened = _open_sound(mine.enter_context(opened_bytes(file)), deadline)
        mine.enter_context(opened.sound)
        stack.push(mine.pop_all())
        return opened


def _open_sound(binary: BinaryIO, deadline: _Deadline) -> _Opened:
    """Open the decoder, and find out how much it ought to give."""
    if not binary.read(1):
        raise DataError("empty file")
    binary.seek(0)
    try:
        # The descriptor, not the name: libsndfile would guess from the ending. It begins where the descriptor stands.
        os.lseek(binary.fileno(), 0, os.SEEK_SET)
        sound = _ForwardSound(binary.fileno(), closefd=False)
    except sf.SoundFileError:
        # Junk before the first frame of an MP3 is all that a walk can mend.
        found = mp3.walk(binary, deadline)
        if found is None:
            raise
        return _open_walked(binary, found)
    if not _LOWEST_RATE <= sound.samplerate <= _HIGHEST_RATE:
        raise DataError(f"unusable sample rate: {sound.samplerate} Hz")
    length = sound.frames if 0 <= sound.frames < _UNKNOWN_LENGTH else 0
    header_s = length / sound.samplerate
    # The decoder's descriptor shares its position with ours, so a walk gives it back.
    position = os.lseek(binary.fileno(), 0, os.SEEK_CUR)
    try:
        match sound.format:
            case "OGG":
                pages = ogg.walk(binary, deadline) or ogg.OggWalk(seconds=0.0, is_cut=False)
                return _Opened(sound=sound, header_s=header_s, walk_s=pages.seconds, is_cut=pages.is_cut)
            case "MP3":
                found = mp3.walk(binary, deadline)
            case _:
                return _Opened(sound=sound, header_s=header_s * promised_ratio(binary))
    finally:
        os.lseek(binary.fileno(), position, os.SEEK_SET)
    if found is None or found.first.sample_rate != sound.samplerate:
        return _Opened(sound=sound, header_s=header_s)
    if len(found.ranges) > 1 or abs(header_s - found.seconds) > _tolerated(found.seconds):
        sound.close()
        return _open_walked(binary, found)
    return _as_walked(sound, found)


def _open_walked(binary: BinaryIO, found: mp3.Mp3Walk) -> _Opened:
    """Open an MP3 so that all its frames are read; left alone, libsndfile stops at a guessed end or at damage."""
    return _as_walked(_ForwardSound(cast("BinaryIO", TaggedMp3(binary, found))), found)


def _as_walked(sound: sf.SoundFile, found: mp3.Mp3Walk) -> _Opened:
    return _Opened(
        sound=sound,
        header_s=found.tagged_seconds,
        walk_s=found.seconds,
        skipped_bytes=found.skipped_bytes,
        tail_bytes=found.tail_bytes,
        tail_s=found.tail_seconds,
    )


def _cut(
    file: AudioFile, opened: _Opened, config: PrepareConfig, deadline: _Deadline, keep: Callable[[Clip], None]
) -> LedgerRow:
    cutter = ClipCutter(
        file.track_id,
        clip_samples=seconds_to_samples(config.clip_s),
        min_clip_samples=seconds_to_samples(config.min_clip_s),
        most_samples=seconds_to_samples(config.max_file_hours * 3600),
        keep=keep,
    )
    resampler = MonoResampler(opened.sound.samplerate)
    ending = _decode(opened.sound, resampler, cutter, config, deadline)
    dropped_s = cutter.close()
    status, reason = _judge(opened, ending)
    if cutter.num_clips == 0:
        short = f"too short: {dropped_s:.3f} s" if dropped_s else "no samples"
        status, reason = "rejected", reason or short
    elif dropped_s:
        reason = join_reasons(reason, f"tail dropped: {dropped_s:.3f} s")
    return LedgerRow(
        path=file.shown_path,
        track_id=file.track_id,
        status=status,
        reason=reason,
        container=opened.sound.format,
        codec=opened.sound.subtype,
        sample_rate=opened.sound.samplerate,
        channels=opened.sound.channels,
        seconds_in=opened.promised_s,
        seconds_out=samples_to_seconds(cutter.kept_samples),
        num_clips=cutter.num_clips,
        nan_samples=resampler.nan_samples,
        clipped_samples=cutter.clipped_samples,
        peak=cutter.peak,
        rms=cutter.rms,
        pcm_sha256=cutter.pcm_sha256,
        size_bytes=file.size_bytes,
    )


def _decode(
    sound: sf.SoundFile, resampler: MonoResampler, cutter: ClipCutter, config: PrepareConfig, deadline: _Deadline
) -> _Ending:
    """Send the whole file through the resampler into the cutter, or as much of it as can be had."""
    block_frames = max(1, min(round(BLOCK_S * sound.samplerate), _BLOCK_VALUES // sound.channels))
    num_frames, error = 0, ""
    while True:
        try:
            block = sound.read(block_frames, dtype="float32", always_2d=True)
        except sf.SoundFileError as problem:
            error = f"decoding failed: {_message(problem)} after {num_frames / sound.samplerate:.1f} s"
            break
        if not len(block):
            break
        num_frames += len(block)
        cutter.add(resampler.add(block))
        if cutter.is_full:
            error = f"longer than {config.max_file_hours:g} hours: the rest is left out"
            break
        if deadline():
            error = f"decoding took over {deadline.limit_s:g} s: the rest is left out"
            break
    cutter.add(resampler.flush())
    return _Ending(error=error, decoded_s=num_frames / sound.samplerate)


def _judge(opened: _Opened, ending: _Ending) -> tuple[Status, str]:
    """The status of a file that gave clips, and why."""
    damage = f"damaged: {opened.skipped_bytes} bytes left out" if opened.skipped_bytes else ""
    if ending.error or damage:
        return "partial", ending.error or damage
    promised_s = opened.promised_s
    if ending.decoded_s < promised_s - _tolerated(promised_s):
        if opened.walk_s >= opened.header_s:
            return "suspect", f"holds more than was decoded: {promised_s:.1f} s, decoded {ending.decoded_s:.1f} s"
        return "partial", f"ends early: {ending.decoded_s:.1f} of {promised_s:.1f} s"
    if opened.is_cut:
        return "partial", "ends early: the last page is missing"
    if opened.tail_s > _tolerated(promised_s):
        return "suspect", f"holds more than was decoded: {opened.tail_bytes} bytes behind the last frame"
    return "used", ""


def _tolerated(seconds: float) -> float:
    return max(_SHORT_S, _SHORT_FRACTION * seconds)


def _message(error: sf.SoundFileError) -> str:
    text = error.error_string if isinstance(error, sf.LibsndfileError) else str(error)
    return text.strip().rstrip(".")
