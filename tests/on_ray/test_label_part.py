import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_musicssl.audio.shard import part_name
from ray_musicssl.audio.writer import sidecar_path
from ray_musicssl.clustering.label_set import check_rows
from ray_musicssl.config.feature import MfccConfig
from ray_musicssl.errors import DataError
from ray_musicssl.features.mfcc import Mfcc
from ray_musicssl.on_ray.label import label
from ray_musicssl.on_ray.label_part import LabelOutput, PartJob, label_part


@pytest.fixture
def shards(twelve_clips):
    return twelve_clips


@pytest.fixture
def codebook(shards, make_codebook):
    return make_codebook(shards, MfccConfig(num_coefficients=4), 100.0)


def test_a_codebook_that_was_exchanged_under_a_running_stage_is_refused(shards, codebook, make_codebook):
    other = make_codebook(shards, MfccConfig(num_coefficients=5), 100.0)
    directory = shards.labels_dir / codebook.hash
    other.save(directory)
    output = LabelOutput(directory=directory, codebook_hash=codebook.hash, fingerprint="x")
    with pytest.raises(DataError, match=f"holds the codebook {other.hash}, but its labels are of {codebook.hash}"):
        label_part(PartJob(shards=shards, part=0, outputs=(output,)))


@pytest.mark.usefixtures("in_process")
def test_labels_of_the_same_part_with_other_clips_are_seen(shards, codebook, tmp_path):
    (directory,) = label(shards, [codebook])
    check_rows(shards.part_path(0), directory / part_name(0))
    with pytest.raises(DataError, match=r"row group 0 of .* hold different clips"):
        check_rows(shards.part_path(0), directory / part_name(1))
    table = pq.read_table(directory / part_name(0))
    pq.write_table(table, tmp_path / "one-group.parquet")
    with pytest.raises(DataError, match="has 2 row groups but its labels 1"):
        check_rows(shards.part_path(0), tmp_path / "one-group.parquet")


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("harm", ["other samples", "no parquet", "no sidecar", "gone"])
def test_a_damaged_audio_part_is_named(shards, codebook, harm):
    path = shards.part_path(1)
    if harm == "other samples":
        table = pq.read_table(path)
        silence = pa.array([bytes(len(pcm.as_py())) for pcm in table["pcm"]], pa.large_binary())
        pq.write_table(table.set_column(4, "pcm", silence), path, row_group_size=3)
    elif harm == "no parquet":
        path.write_bytes(b"not parquet")
    elif harm == "gone":
        path.unlink()
    else:
        sidecar_path(shards.path, 1).unlink()
    with pytest.raises(DataError, match=r"part-00001.parquet .*; make the shards again"):
        label(shards, [codebook])
    assert not (shards.labels_dir / codebook.hash / part_name(1)).exists()


@pytest.mark.usefixtures("in_process")
def test_a_clip_whose_frames_are_no_numbers_is_named_and_its_part_not_written(shards, codebook, monkeypatch):
    made = Mfcc.__call__
    monkeypatch.setattr(Mfcc, "__call__", lambda self, waveform: made(self, waveform) * np.nan)
    with pytest.raises(
        DataError, match=r"clip 0 of row group 0 in .*part-00000\.parquet gives mfcc frames that are NaN"
    ):
        label(shards, [codebook])
    assert not (shards.labels_dir / codebook.hash / part_name(0)).exists()
