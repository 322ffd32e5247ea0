import errno
import io
import os
from collections.abc import Callable

import numpy as np
import pytest
import soundfile as sf

from ray_musicssl.audio import source_bytes
from ray_musicssl.audio.decode import decode_file
from ray_musicssl.audio.shard import Clip
from ray_musicssl.audio.sources import list_files
from ray_musicssl.config.prepare import PrepareConfig
from ray_musicssl.errors import DataError, EnvironmentFaultError

CONFIG = PrepareConfig(clip_s=2)


def wav() -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, np.full(64_000, 0.1), 16_000, format="WAV")
    return buffer.getvalue()


def test_what_keep_raises_is_not_taken_for_the_file_s_fault(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav())
    for fault in (OSError(errno.ENOSPC, "No space left on device"), DataError("no place for it")):

        def keep(clip: Clip, fault: Exception = fault) -> None:
            raise fault

        with pytest.raises(type(fault)) as raised:
            decode_file(list_files(str(tmp_path))[0], CONFIG, keep)
        assert raised.value is fault


class Fault:
    """Stands in for a call that the machine or the network makes fail some times."""

    def __init__(self, call: Callable, number: int, times: int) -> None:
        self.call, self.number, self.times, self.calls = call, number, times, 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.calls <= self.times:
            raise OSError(self.number, os.strerror(self.number))
        return self.call(*args, **kwargs)


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr(source_bytes, "PAUSES_S", (0, 0))


FAULTS = [("os.open", errno.EMFILE, ""), ("os.open", errno.EIO, ""), ("open_store", errno.ETIMEDOUT, "file://")]


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(("call", "number", "scheme"), FAULTS)
def test_a_fault_of_machine_or_store_is_waited_out_or_raised(tmp_path, monkeypatch, call, number, scheme):
    (tmp_path / "a.wav").write_bytes(wav())
    file = list_files(f"{scheme}{tmp_path}")[0]
    expected = decode_file(file, CONFIG, [].append)
    owner = source_bytes.os if call == "os.open" else source_bytes
    original = getattr(owner, call.rpartition(".")[2])
    with monkeypatch.context() as patch:
        patch.setattr(owner, call.rpartition(".")[2], Fault(original, number, times=2))
        assert decode_file(file, CONFIG, [].append) == expected
    with monkeypatch.context() as patch:
        patch.setattr(owner, call.rpartition(".")[2], Fault(original, number, times=9))
        with pytest.raises(EnvironmentFaultError, match=rf"a\.wav cannot be read: {os.strerror(number)}.*goes on"):
            decode_file(file, CONFIG, [].append)


def test_no_room_for_the_copy_of_an_object_is_not_the_object_s_fault(tmp_path, monkeypatch):
    (tmp_path / "a.wav").write_bytes(wav())
    file = list_files(f"file://{tmp_path}")[0]
    monkeypatch.setattr(source_bytes.shutil, "copyfileobj", Fault(print, errno.ENOSPC, times=9))
    with pytest.raises(EnvironmentFaultError, match=r"no room for a copy of a\.wav.*TMPDIR"):
        decode_file(file, CONFIG, [].append)


def test_a_file_that_may_not_be_read_is_rejected(tmp_path, monkeypatch):
    (tmp_path / "a.wav").write_bytes(wav())
    file = list_files(str(tmp_path))[0]
    monkeypatch.setattr(source_bytes.os, "open", Fault(os.open, errno.EACCES, times=9))
    assert decode_file(file, CONFIG, [].append).reason == "permission denied"
