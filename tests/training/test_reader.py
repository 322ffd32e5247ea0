import numpy as np
import pyarrow.parquet as pq
import pytest

from ray_musicssl.audio.shard import part_name, pcm_views
from ray_musicssl.errors import DataError
from ray_musicssl.training.reader import CropReader, LabelSource

MFCC_LABELS = {"feature": {"name": "mfcc"}, "frame_rate": 100.0, "num_clusters": 7919}
SEMITONE_LABELS = {"feature": {"name": "semitone"}, "frame_rate": 50.0, "num_clusters": 7919}


@pytest.fixture(scope="module")
def shards(tmp_path_factory, make_shards):
    path = tmp_path_factory.mktemp("reader") / "shards"
    return make_shards(path, seconds=[2.0, 3.0, 0.5, 2.5] * 5, label_sets=[MFCC_LABELS, SEMITONE_LABELS])


def reader(shards, **settings):
    sources = [LabelSource(shards.labels_dir / f"{i:016x}", rate) for i, rate in enumerate((100.0, 50.0))]
    return CropReader(shards, sources, **({"longest_crop_samples": 20000, "seed": 3, "with_levels": True} | settings))


def test_crops_are_stretches_of_their_clips_and_labels_lie_under_their_frames(shards):
    crops = reader(shards).read(range(30), 20000)
    entries = reader(shards).plan.entries(0, 30)
    waveforms = [w for part in shards.parts() for w in pcm_views(pq.read_table(shards.part_path(part))["pcm"])]
    starts = set()
    for i, clip in enumerate(entries.clip):
        start = int(crops.labels[1][i][0]) * 320  # the labels say where they are
        starts.add(start)
        np.testing.assert_array_equal(crops.pcm[i], waveforms[clip][start : start + 20000])
        np.testing.assert_array_equal(crops.labels[1][i], start // 320 + np.arange(62))
        np.testing.assert_array_equal(crops.labels[0][i], start // 160 + 2 * np.arange(62))
        assert crops.mean[i] == pytest.approx(waveforms[clip].mean() / 32768, abs=1e-7)
        assert crops.std[i] == pytest.approx(waveforms[clip].std() / 32768, rel=1e-5)
    assert len(starts) > 10


def test_reading_in_pieces_gives_the_same_crops(shards):
    whole, piecewise = reader(shards).read(range(5, 25), 20000), reader(shards)
    pieces = [piecewise.read(range(5, 11), 20000), piecewise.read(range(11, 25), 20000)]
    np.testing.assert_array_equal(whole.pcm, np.concatenate([p.pcm for p in pieces]))
    np.testing.assert_array_equal(whole.labels[0], np.concatenate([p.labels[0] for p in pieces]))


def test_labels_of_other_clips_are_refused(shards, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for part in shards.parts():
        table = pq.read_table(shards.labels_dir / f"{0:016x}" / part_name(part))
        shuffled = table.take(list(reversed(range(len(table)))))
        pq.write_table(shuffled, wrong / part_name(part), row_group_size=4)
    broken = CropReader(shards, [LabelSource(wrong, 100.0)], longest_crop_samples=20000, seed=3, with_levels=False)
    with pytest.raises(DataError, match="does not label the clips of"):
        broken.read(range(4), 20000)


def test_labels_of_shorter_audio_are_refused(shards):
    half_rate = CropReader(
        shards,
        [LabelSource(shards.labels_dir / f"{1:016x}", 100.0)],
        longest_crop_samples=20000,
        seed=3,
        with_levels=False,
    )
    with pytest.raises(DataError, match="the labels belong to other audio"):
        half_rate.read(range(16), 20000)
