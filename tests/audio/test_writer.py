import contextlib
import errno
import os
import resource
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from ray_musicssl.audio import writer
from ray_musicssl.audio.decode import decode_file
from ray_musicssl.audio.ledger import LedgerRow
from ray_musicssl.audio.parts import PartPlan
from ray_musicssl.audio.shard import CLIP_SCHEMA, Clip, pcm_views, read_row_group
from ray_musicssl.audio.sources import AudioFile, list_files
from ray_musicssl.audio.writer import is_written, read_record, sidecar_path, write_manifest, write_part
from ray_musicssl.config.prepare import PrepareConfig
from ray_musicssl.errors import EnvironmentFaultError

CONFIG = PrepareConfig(clips_per_row_group=4)


def pcm_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(-32768, 32768, 100 + number, dtype=np.int16)


def decode(file, config, keep):
    """A file named "3" gives three clips."""
    for number in range(int(file.path)):
        keep(Clip(clip_id=f"{file.path}-{number}", track_id=file.path, offset_s=number / 3, pcm=pcm_of(number)))
    return LedgerRow(path=file.path, track_id=file.path, status="used", num_clips=int(file.path))


def part_of(*names: str, number: int = 0) -> PartPlan:
    files = tuple(AudioFile(path=name, location=name) for name in names)
    return PartPlan(number=number, files=files, fingerprint=f"print-{names}")


def test_clips_come_back_as_they_were_in_row_groups_of_the_wanted_size(tmp_path):
    write_part(part_of("6", "0", "5"), CONFIG, tmp_path, decode)
    parquet = pq.ParquetFile(tmp_path / "part-00000.parquet")
    assert parquet.schema_arrow.equals(CLIP_SCHEMA, check_metadata=True)
    assert [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)] == [4, 4, 3]
    second = read_row_group(tmp_path / "part-00000.parquet", 1)
    assert second["clip_id"].to_pylist() == ["6-4", "6-5", "5-0", "5-1"]
    for view, number in zip(pcm_views(second["pcm"]), (4, 5, 0, 1), strict=True):
        np.testing.assert_array_equal(view, pcm_of(number))


def test_samples_are_stored_raw_and_without_statistics(tmp_path):
    write_part(part_of("6"), CONFIG, tmp_path, decode)
    group = pq.ParquetFile(tmp_path / "part-00000.parquet").metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert {column.compression for column in columns.values()} == {"UNCOMPRESSED"}
    assert not any(column.has_dictionary_page for column in columns.values())
    assert not columns["pcm"].is_stats_set


def test_a_part_written_twice_has_the_same_bytes(tmp_path):
    for folder in ("one", "two"):
        write_part(part_of("6", "5"), CONFIG, tmp_path / folder, decode)
    for name in ("part-00000.parquet", "part-00000.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_part_without_clips_has_a_sidecar_alone(tmp_path):
    part = part_of("0", "0")
    write_part(part, CONFIG, tmp_path, decode)
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000.json"]
    assert is_written(part, tmp_path)
    assert read_record(tmp_path, 0).sha256 == ""


def test_a_file_with_a_problem_is_not_opened(tmp_path):
    files = (AudioFile(path="5", location="5", problem="symlink loop"), AudioFile(path="2", location="2"))
    write_part(PartPlan(number=0, files=files, fingerprint="print"), CONFIG, tmp_path, decode)
    record = read_record(tmp_path, 0)
    assert [(row.status, row.reason) for row in record.ledger] == [("rejected", "symlink loop"), ("used", "")]
    assert [clip.track_id for clip in record.clips] == ["2", "2"]


@pytest.mark.parametrize("harm", ["sidecar gone", "parquet gone", "parquet cut", "other plan"])
def test_a_part_that_is_not_whole_is_not_taken_for_written(tmp_path, harm):
    part = part_of("6")
    write_part(part, CONFIG, tmp_path, decode)
    assert is_written(part, tmp_path)
    parquet = tmp_path / "part-00000.parquet"
    if harm == "sidecar gone":
        sidecar_path(tmp_path, 0).unlink()
    elif harm == "parquet gone":
        parquet.unlink()
    elif harm == "parquet cut":
        parquet.write_bytes(parquet.read_bytes()[:-1])
    else:
        part = part_of("5")
    assert not is_written(part, tmp_path)


def test_an_error_leaves_nothing_behind(tmp_path):
    def failing(file: AudioFile, config, keep):
        decode(file, config, keep)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_part(part_of("9"), CONFIG, tmp_path, failing)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def recordings(tmp_path):
    """A part of three recordings that are all there, 3 s each."""
    (tmp_path / "music").mkdir()
    for number in range(3):
        sf.write(tmp_path / "music" / f"{number}.wav", np.full(48_000, 0.1), 16_000)
    return PartPlan(number=0, files=tuple(list_files(str(tmp_path / "music"))), fingerprint="print")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
@pytest.mark.parametrize("clips_per_row_group", [2, 64])  # full while a file is decoded, and when the part is closed
def test_a_full_disk_is_said_plainly(recordings, tmp_path, monkeypatch, clips_per_row_group):
    monkeypatch.setattr(writer, "replacing", lambda path: contextlib.nullcontext(Path("/dev/full")))
    config = PrepareConfig(clip_s=1, clips_per_row_group=clips_per_row_group)
    with pytest.raises(EnvironmentFaultError, match=r"disk is full while writing .*part-00000\.parquet"):
        write_part(recordings, config, tmp_path / "out", decode_file)
    assert not sidecar_path(tmp_path / "out", 0).exists()


@pytest.mark.parametrize("clips_per_row_group", [2, 64])
def test_a_write_that_fails_half_way_says_why_and_leaves_nothing(recordings, tmp_path, clips_per_row_group):
    config = PrepareConfig(clip_s=1, clips_per_row_group=clips_per_row_group)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, hard))  # as a disk that fills up: 2.5 clips fit
    try:
        with pytest.raises(EnvironmentFaultError, match=r"part-00000\.parquet cannot be written: .*File too large"):
            write_part(recordings, config, tmp_path / "out", decode_file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOSPC, "the disk is full"), (errno.EIO, "cannot be written: Input/output error")]
)
def test_a_write_that_fails_once_is_not_blamed_on_the_recording(recordings, tmp_path, monkeypatch, number, said):
    write_table, failed = pq.ParquetWriter.write_table, []

    def failing_once(parquet, table):
        if not failed:
            failed.append(table)
            raise OSError(number, os.strerror(number))
        write_table(parquet, table)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", failing_once)
    config = PrepareConfig(clip_s=1, clips_per_row_group=2)
    with pytest.raises(EnvironmentFaultError, match=said):
        write_part(recordings, config, tmp_path / "out", decode_file)
    assert list((tmp_path / "out").iterdir()) == []
    write_part(recordings, config, tmp_path / "out", decode_file)
    assert [row.status for row in read_record(tmp_path / "out", 0).ledger] == ["used"] * 3


def test_the_manifest_finds_every_clip(tmp_path):
    names = [("6", "5"), ("0",), ("3",)]
    for number, part in enumerate(names):
        write_part(part_of(*part, number=number), CONFIG, tmp_path, decode)
    path = tmp_path / "manifest.parquet"
    write_manifest(path, [read_record(tmp_path, number) for number in range(3)], clips_per_row_group=4)
    rows = pq.read_table(path).to_pylist()
    assert len(rows) == 14
    for row in rows:
        group = read_row_group(Path(tmp_path / f"part-{row['part']:05d}.parquet"), row["row_group"])
        stored = group.slice(row["row"], 1).to_pylist()[0]
        assert {name: row[name] for name in ("clip_id", "track_id", "offset_s", "num_samples")} == {
            name: stored[name] for name in ("clip_id", "track_id", "offset_s", "num_samples")
        }
        assert 2 * row["num_samples"] == len(stored["pcm"])
