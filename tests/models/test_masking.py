import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_musicssl.config.masking import MaskingConfig
from ray_musicssl.errors import ConfigError
from ray_musicssl.models.masking import batch_mask, span_mask
from ray_musicssl.randomness import generator


# Source: coverage of fairseq's compute_mask_indices on 781 frames, measured with the reference.
@pytest.mark.parametrize(
    ("mask_prob", "mask_length", "coverage"),
    [(0.8, 10, 0.566), (0.65, 10, 0.490), (0.65, 5, 0.502), (0.65, 15, 0.487), (0.5, 10, 0.402)],
)
def test_coverage_is_the_reference_s(mask_prob, mask_length, coverage):
    config = MaskingConfig(mask_prob=mask_prob, mask_length=mask_length, min_masks=1)
    masks = batch_mask(range(400), 781, config, seed=0)
    assert masks.mean() == pytest.approx(coverage, abs=0.012)


@given(num_frames=st.integers(30, 400), mask_length=st.integers(1, 12), seed=st.integers(0, 1000))
def test_masks_are_made_of_whole_spans_but_at_the_end(num_frames, mask_length, seed):
    config = MaskingConfig(mask_prob=0.4, mask_length=mask_length, min_masks=2)
    mask = span_mask(num_frames, config, generator(seed))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    runs = edges[1::2] - edges[::2]
    assert len(runs) >= 1
    assert (runs >= mask_length).all()
    assert not mask.all()


def test_a_clip_s_mask_does_not_depend_on_its_batch():
    config = MaskingConfig()
    together = batch_mask([3, 7, 9], 100, config, seed=1)
    alone = batch_mask([7], 100, config, seed=1)
    np.testing.assert_array_equal(together[1], alone[0])
    assert not np.array_equal(together[0], together[1])


# Source: coverage after fairseq's equalising, in batches of as many clips as one of its workers has.
@pytest.mark.parametrize(("mask_prob", "num_clips", "coverage"), [(0.8, 5, 0.536), (0.65, 11, 0.457)])
def test_equal_counts_in_a_batch_cover_what_the_reference_s_do(mask_prob, num_clips, coverage):
    config = MaskingConfig(mask_prob=mask_prob, min_masks=1, require_same_masks=True)
    batches = [batch_mask(range(i * num_clips, (i + 1) * num_clips), 781, config, seed=0) for i in range(60)]
    for masks in batches:
        assert len(set(masks.sum(axis=1))) == 1
    assert np.mean(batches) == pytest.approx(coverage, abs=0.012)


def test_equal_counts_only_show_frames_and_do_so_at_random():
    config = MaskingConfig()
    free = batch_mask(range(8), 300, config, seed=2)
    same = batch_mask(range(8), 300, config.model_copy(update={"require_same_masks": True}), seed=2)
    assert not (same & ~free).any()
    shown = (free & ~same).any(axis=0)
    assert shown[:150].any()
    assert shown[150:].any()


def test_a_clip_that_would_be_hidden_whole_is_refused():
    with pytest.raises(ConfigError, match=r"mask_length=10 hide all 1 frames"):
        span_mask(1, MaskingConfig(), generator(0))
