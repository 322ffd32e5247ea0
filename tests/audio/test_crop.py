import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_musicssl.audio.crop import crop_labels, crop_start, labels_per_frame
from ray_musicssl.audio.frames import ENCODER_GRID, FrameGrid
from ray_musicssl.errors import DataError

CROP = 4000  # samples: 12 frames


@given(num_samples=st.integers(CROP, 500_000), crop_seed=st.integers(0, 2**64 - 1))
def test_a_crop_lies_inside_its_clip_and_starts_on_a_frame(num_samples, crop_seed):
    start = crop_start(num_samples, CROP, crop_seed)
    assert 0 <= start <= num_samples - CROP
    assert start % ENCODER_GRID.hop_length == 0


def test_every_start_is_drawn_equally_often():
    starts = [crop_start(CROP + 3 * 320 + 100, CROP, seed) for seed in range(40)]
    assert np.bincount(np.array(starts) // 320).tolist() == [10, 10, 10, 10]


def test_a_clip_as_long_as_the_crop_has_one():
    assert {crop_start(CROP, CROP, seed) for seed in (0, 1, 2**64 - 1)} == {0}


@pytest.mark.parametrize("frame_rate", [50.0, 100.0, 200.0])
@given(num_samples=st.integers(CROP, 60_000), crop_seed=st.integers(0, 2**64 - 1))
def test_a_frame_s_label_is_the_one_at_its_first_sample(frame_rate, num_samples, crop_seed):
    hop = round(16_000 / frame_rate)
    grid = FrameGrid(receptive_field=400, hop_length=hop)
    clip_labels = np.arange(grid.num_frames(num_samples)) * hop  # each label is the sample it starts at
    start = crop_start(num_samples, CROP, crop_seed)
    labels = crop_labels(clip_labels, start, ENCODER_GRID.num_frames(CROP), frame_rate)
    assert labels.dtype == np.int32
    assert labels.tolist() == [start + frame * 320 for frame in range(12)]


@pytest.mark.parametrize(("frame_rate", "ratio"), [(50.0, 1), (100.0, 2), (150.0, 3), (200.0, 4)])
def test_label_rates_that_the_encoder_s_divides_are_taken(frame_rate, ratio):
    assert labels_per_frame(frame_rate) == ratio


@pytest.mark.parametrize("frame_rate", [25.0, 75.0, 86.1328125, 99.0])
def test_other_label_rates_are_refused_by_name(frame_rate):
    with pytest.raises(DataError, match=rf"labels are at {frame_rate} Hz but the encoder runs at 50.0 Hz"):
        labels_per_frame(frame_rate)


def test_a_clip_with_too_few_labels_is_refused():
    with pytest.raises(DataError, match=r"from sample 640 needs 12 frames but the clip has 13 labels at 50.0 Hz"):
        crop_labels(np.zeros(13, np.int64), 640, 12, 50.0)
    assert len(crop_labels(np.zeros(14, np.int64), 640, 12, 50.0)) == 12
