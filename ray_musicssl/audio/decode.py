"""One audio file to clips and a row of the ledger, in flat memory.

A file can hurt only itself: what is wrong with it becomes a status and a reason, and what was decoded before is kept.
"""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Protocol, cast

import soundfile as sf

from ray_musicssl.audio import mp3, ogg
from ray_musicssl.audio.frames import samples_to_seconds, seconds_to_samples
from ray_musicssl.audio.ledger import LedgerRow, Status, join_reasons
from ray_musicssl.audio.remote_sources import open_store
from ray_musicssl.audio.shard import Clip
from ray_musicssl.audio.sources import AudioFile
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
    dropped. No error of the file's content or its reading is raised.
    """
    try:
        with _binary(file) as binary:
            opened = _open_sound(binary)
            with opened.sound:
                return _cut(file, opened, config, keep)
    except (OSError, sf.SoundFileError, DataError) as error:
        return rejected(file, _kind_of(error))


def rejected(file: AudioFile, reason: str) -> LedgerRow:
    """The row of a file that gives no clip and of which nothing more is known."""
    return LedgerRow(
        path=file.shown_path, track_id=file.track_id, status="rejected", reason=reason, size_bytes=file.size_bytes
    )


def _kind_of(error: OSError | sf.SoundFileError | DataError) -> str:
    match error:
        case FileNotFoundError():
            return "missing"
        case PermissionError():
            return "permission denied"
        case OSError():
            return f"cannot be read: {error.strerror or error}"
        case sf.SoundFileError():
            return f"not decodable: {_message(error)}"
        case _:
            return str(error)


@contextmanager
def _binary(file: AudioFile) -> Iterator[BinaryIO]:
    """The file's bytes, seekable; an object of a store is copied to a temporary file first.

    Raises:
        DataError: if it is no regular file, is empty, or is not what was listed.
    """
    if file.store:
        with tempfile.TemporaryFile() as local:
            with open_store(file.store)[0].open_input_stream(file.location, compression=None) as remote:
                shutil.copyfileobj(remote, local, 1 << 20)
            local.seek(0)
            yield cast("BinaryIO", local)
        return
    # Non-blocking: a FIFO that took the file's place since the listing must not hold us up.
    descriptor = os.open(file.location, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as local:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DataError("not a regular file")
        if (status.st_size, status.st_mtime_ns) != (file.size_bytes, file.mtime_ns):
            raise DataError("changed since it was listed")
        yield cast("BinaryIO", local)


def _open_sound(binary: BinaryIO) -> _Opened:
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
        found = mp3.walk(binary)
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
        if sound.format == "OGG":
            return _Opened(sound=sound, header_s=header_s, walk_s=ogg.total_seconds(binary) or 0.0)
        found = mp3.walk(binary) if sound.format == "MP3" else None
    finally:
        os.lseek(binary.fileno(), position, os.SEEK_SET)
    if found is None or found.first.sample_rate != sound.samplerate:
        return _Opened(sound=sound, header_s=header_s)
    if found.skipped_bytes or abs(header_s - found.seconds) > _tolerated(found.seconds):
        sound.close()
        return _open_walked(binary, found)
    return _Opened(sound=sound, header_s=found.tagged_seconds, walk_s=found.seconds)


def _open_walked(binary: BinaryIO, found: mp3.Mp3Walk) -> _Opened:
    """Open an MP3 so that all its frames are read; left alone, libsndfile stops at a guessed end or at damage."""
    return _Opened(
        sound=_ForwardSound(cast("BinaryIO", mp3.TaggedMp3(binary, found))),
        header_s=found.tagged_seconds,
        walk_s=found.seconds,
        skipped_bytes=found.skipped_bytes,
    )


def _cut(file: AudioFile, opened: _Opened, config: PrepareConfig, keep: Callable[[Clip], None]) -> LedgerRow:
    cutter = ClipCutter(
        file.track_id,
        clip_samples=seconds_to_samples(config.clip_s),
        min_clip_samples=seconds_to_samples(config.min_clip_s),
        most_samples=seconds_to_samples(config.max_file_hours * 3600),
        keep=keep,
    )
    resampler = MonoResampler(opened.sound.samplerate)
    ending = _decode(opened.sound, resampler, cutter, config)
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


def _decode(sound: sf.SoundFile, resampler: MonoResampler, cutter: ClipCutter, config: PrepareConfig) -> _Ending:
    """Send the whole file through the resampler into the cutter, or as much of it as can be had."""
    deadline = time.monotonic() + config.decode_timeout_s
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
        if time.monotonic() > deadline:
            error = f"decoding took over {config.decode_timeout_s:g} s: the rest is left out"
            break
    cutter.add(resampler.flush())
    return _Ending(error=error, decoded_s=num_frames / sound.samplerate)


def _judge(opened: _Opened, ending: _Ending) -> tuple[Status, str]:
    """The status of a file that gave clips, and why."""
    if ending.error:
        return "partial", ending.error
    if opened.skipped_bytes:
        return "partial", f"damaged: {opened.skipped_bytes} bytes left out"
    promised_s = opened.promised_s
    if ending.decoded_s >= promised_s - _tolerated(promised_s):
        return "used", ""
    if opened.walk_s >= opened.header_s:
        return "suspect", f"holds more than was decoded: {promised_s:.1f} s, decoded {ending.decoded_s:.1f} s"
    return "partial", f"ends early: {ending.decoded_s:.1f} of {promised_s:.1f} s"


def _tolerated(seconds: float) -> float:
    return max(_SHORT_S, _SHORT_FRACTION * seconds)


def _message(error: sf.SoundFileError) -> str:
    text = error.error_string if isinstance(error, sf.LibsndfileError) else str(error)
    return text.strip().rstrip(".")
