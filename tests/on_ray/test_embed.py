"""Files to Parquet with a trained encoder."""

import shutil
from contextlib import nullcontext

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from ray_musicssl.audio.frames import ENCODER_GRID
from ray_musicssl.errors import ConfigError, DataError, ResumeRefusedError
from ray_musicssl.on_ray import embed as stage
from ray_musicssl.on_ray.embed import EMBEDDING_SCHEMA, embed_files
from ray_musicssl.probing.embed import load_encoder


@pytest.fixture(scope="module")
def music_dir(tmp_path_factory):
    """Three files of 3, 4 and 5 s, and one that is no audio."""
    root = tmp_path_factory.mktemp("embed") / "music"
    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        pcm = (rng.normal(size=16_000 * (3 + number)) * 3000).astype(np.int16)
        sf.write(root / f"{number}.wav", pcm, 16_000)
    (root / "broken.wav").write_bytes(b"no audio")
    return root


def rows_of(out):
    return [row for path in sorted(out.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def written(out):
    return {path: path.stat().st_mtime_ns for path in out.iterdir() if path.suffix in {".parquet", ".json"}}


@pytest.mark.ray
def test_files_become_rows_of_the_encoder_s_embeddings_once(whole_run_dir, music_dir, tmp_path, cluster):
    out = tmp_path / "out"
    settings = {"layers": [0, -1], "clip_s": 2.0, "max_bad_fraction": 0.25}
    assert embed_files(whole_run_dir, str(music_dir), out, **settings) == out
    rows, encoder = rows_of(out), load_encoder(whole_run_dir)
    # 3 s make clips of 2 and 1 s, 4 s two of 2 s, 5 s two of 2 s and one of 1 s.
    assert [(row["path"], row["offset_s"], row["duration_s"]) for row in rows] == [
        *(("0.wav", 0.0, 2.0), ("0.wav", 2.0, 1.0), ("1.wav", 0.0, 2.0), ("1.wav", 2.0, 2.0)),
        *(("2.wav", 0.0, 2.0), ("2.wav", 2.0, 2.0), ("2.wav", 4.0, 1.0)),
    ]
    for row in rows:
        pcm, rate = sf.read(music_dir / row["path"], dtype="float32")
        first = round(row["offset_s"] * rate)
        clip = pcm[first : first + round(row["duration_s"] * rate)]
        expected = encoder.embed(clip, rate, layers=[0, 2], pool="mean")
        assert (row["layers"], row["num_frames"], row["dim"]) == ([0, 2], 0, 32)
        np.testing.assert_allclose(np.reshape(row["embedding"], (2, 32)), expected, atol=1e-5)

    ledger = {row["path"]: row for row in pq.read_table(out / "ledger.parquet").to_pylist()}
    assert {path: row["status"] for path, row in ledger.items()} == {
        **{f"{number}.wav": "used" for number in range(3)},
        "broken.wav": "rejected",
    }
    assert ledger["broken.wav"]["reason"]

    before = written(out)
    embed_files(whole_run_dir, str(music_dir), out, **settings)
    assert written(out) == before
    with pytest.raises(ResumeRefusedError, match="choose another --out"):
        embed_files(whole_run_dir, str(music_dir), out, **settings | {"layers": "all"})


def in_process(function, items):
    """Stands in for Ray tasks."""
    return ((index, function(item)) for index, item in enumerate(items))


@pytest.fixture
def without_ray(monkeypatch):
    monkeypatch.setattr(stage, "run_tasks", in_process)
    monkeypatch.setattr(stage, "session", nullcontext)
    stage._encoder.cache_clear()


@pytest.mark.usefixtures("without_ray")
def test_frames_are_kept_row_major_and_a_part_that_is_there_is_not_made_again(
    whole_run_dir, music_dir, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    embed_files(whole_run_dir, str(music_dir / "0.wav"), out, layers=1, pool=None)
    table = pq.read_table(out / "part-00000.parquet")
    assert table.schema.equals(EMBEDDING_SCHEMA)
    (row,) = table.to_pylist()
    expected = load_encoder(whole_run_dir).embed(sf.read(music_dir / "0.wav", dtype="float32")[0], 16_000, layers=1)
    assert row["num_frames"] == ENCODER_GRID.num_frames(3 * 16_000) == 149
    np.testing.assert_allclose(np.reshape(row["embedding"], (1, 149, 32)), expected, atol=1e-5)

    # What a killed command leaves: parts, but neither marker nor ledger.
    for name in ("done-embed.json", "ledger.parquet"):
        (out / name).unlink()
    (out / ".part-00000.parquet.0123abcd.tmp").touch()
    monkeypatch.setattr(stage, "_embed_part", lambda job: pytest.fail("it made a part again"))
    embed_files(whole_run_dir, str(music_dir / "0.wav"), out, layers=1, pool=None)
    assert (out / "ledger.parquet").exists()
    assert not list(out.glob(".*.tmp"))


@pytest.mark.usefixtures("without_ray")
def test_a_long_file_is_written_while_it_is_decoded(whole_run_dir, music_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "ROW_GROUP_BYTES", 2 * 49 * 3 * 32 * 4)  # the frames of two clips of 1 s
    embed_files(whole_run_dir, str(music_dir / "2.wav"), tmp_path / "out", pool=None, clip_s=1.0)
    groups = pq.ParquetFile(tmp_path / "out" / "part-00000.parquet").metadata
    assert [groups.row_group(number).num_rows for number in range(groups.num_row_groups)] == [2, 2, 1]
    assert [row["offset_s"] for row in rows_of(tmp_path / "out")] == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.fixture
def copied_run_dir(whole_run_dir, tmp_path):
    return shutil.copytree(whole_run_dir, tmp_path / "run")


@pytest.mark.usefixtures("without_ray")
def test_a_checkpoint_written_meanwhile_is_not_used(copied_run_dir, music_dir, tmp_path, monkeypatch):
    """A run of 25 steps gets its last checkpoint between the driver's look at it and the worker's."""
    last = copied_run_dir / "checkpoints" / "step-00000030"
    last.rename(tmp_path / "later")
    expected = load_encoder(copied_run_dir).embed(sf.read(music_dir / "0.wav", dtype="float32")[0], 16_000, pool="mean")

    def train_on(function, items):
        (tmp_path / "later").rename(last)
        return in_process(function, items)

    monkeypatch.setattr(stage, "run_tasks", train_on)
    embed_files(copied_run_dir, str(music_dir / "0.wav"), tmp_path / "out")
    assert last.exists()
    (row,) = rows_of(tmp_path / "out")
    np.testing.assert_allclose(np.reshape(row["embedding"], expected.shape), expected, atol=1e-5)


@pytest.mark.usefixtures("without_ray")
def test_an_encoder_that_changes_meanwhile_is_refused(copied_run_dir, music_dir, tmp_path, monkeypatch):
    newest, before = (copied_run_dir / "checkpoints" / f"step-000000{step}" for step in (30, 25))

    def overwrite(function, items):
        shutil.rmtree(newest)
        shutil.copytree(before, newest)
        return in_process(function, items)

    monkeypatch.setattr(stage, "run_tasks", overwrite)
    with pytest.raises(DataError, match="step-00000030 has changed since this command began"):
        embed_files(copied_run_dir, str(music_dir / "0.wav"), tmp_path / "out")


@pytest.mark.usefixtures("without_ray")
def test_too_many_files_that_give_nothing_are_a_failure_that_a_higher_limit_accepts(
    whole_run_dir, music_dir, tmp_path, capsys
):
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"1 of 4 files are rejected \(.+\).*accept them with --max-bad-fraction 0.25"):
        embed_files(whole_run_dir, str(music_dir), out)
    before = written(out)
    assert len(rows_of(out)) == 3
    embed_files(whole_run_dir, str(music_dir), out, max_bad_fraction=0.25)
    assert written(out) == before
    assert capsys.readouterr().err.count(f"4 files: 3 used, 1 rejected; each is in {out / 'ledger.parquet'}") == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clip_s": 31.0}, r"clip_s = 31.0"),
        ({"clip_s": 0.5}, r"min_clip_s=1.0 is above clip_s=0.5"),
        ({"layers": [0, 3]}, r"layers=3 does not exist; this encoder has 0..2"),
    ],
)
def test_wrong_settings_are_refused_before_anything_starts(whole_run_dir, music_dir, tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        embed_files(whole_run_dir, str(music_dir), tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()
