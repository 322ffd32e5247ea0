import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_musicssl.audio.frames import (
    ENCODER_GRID,
    MFCC_GRID,
    SAMPLE_RATE,
    samples_to_seconds,
    seconds_to_samples,
)

# Source: wav2vec2's stem: kernels and strides.
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)


def frames_of_convolutions(num_samples):
    """Layer by layer, as the convolutions themselves count."""
    for kernel, stride in zip(KERNELS, STRIDES, strict=True):
        num_samples = (num_samples - kernel) // stride + 1 if num_samples >= kernel else 0
    return num_samples


@given(st.integers(0, 600_000))
def test_the_encoder_s_grid_counts_as_its_convolutions_do(num_samples):
    assert ENCODER_GRID.num_frames(num_samples) == frames_of_convolutions(num_samples)


@pytest.mark.parametrize("grid", [ENCODER_GRID, MFCC_GRID])
@given(num_frames=st.integers(1, 100_000))
def test_the_fewest_samples_of_some_frames_are_the_fewest(grid, num_frames):
    fewest = grid.num_samples(num_frames)
    assert grid.num_frames(fewest) == num_frames
    assert grid.num_frames(fewest - 1) == num_frames - 1


@given(st.integers(0, 10**7))
def test_two_feature_frames_fall_on_each_encoder_frame(num_samples):
    frames, finer = ENCODER_GRID.num_frames(num_samples), MFCC_GRID.num_frames(num_samples)
    assert finer - 2 * frames in ({-1, 0} if frames else {0, 1})


# Source: Ma et al. 2023, 2.3: 16 kHz audio, 50 frames a second; 30 s less the first frame's 25 ms is 1499 hops.
@pytest.mark.parametrize(("seconds", "frames"), [(30.0, 1499), (1.0, 49), (0.025, 1), (0.0249, 0), (5.0, 249)])
def test_known_lengths_have_known_frames(seconds, frames):
    assert ENCODER_GRID.num_frames(seconds_to_samples(seconds)) == frames


def test_the_rates_are_those_of_the_paper():
    assert SAMPLE_RATE == 16_000
    assert ENCODER_GRID.frame_rate == 50.0
    assert MFCC_GRID.frame_rate == 100.0
    assert ENCODER_GRID.receptive_field == MFCC_GRID.receptive_field == seconds_to_samples(0.025)


def test_no_frames_need_no_samples():
    assert ENCODER_GRID.num_samples(0) == 0


def test_a_negative_length_is_refused():
    with pytest.raises(ValueError, match="num_samples is -1; it must not be negative"):
        ENCODER_GRID.num_frames(-1)


@given(st.integers(0, 10**12))
def test_samples_survive_the_way_through_seconds(num_samples):
    assert seconds_to_samples(samples_to_seconds(num_samples)) == num_samples
