from itertools import groupby

import numpy as np
import pytest

from ray_musicssl.clustering.run_lengths import MOST_FRAMES, count_runs, run_length_facts


@pytest.mark.parametrize("num_clusters", [1, 2, 7])
def test_runs_are_those_of_reading_label_by_label(num_clusters):
    draws = np.random.default_rng(0)
    labels = draws.integers(0, num_clusters, 40).repeat(draws.integers(1, 9, 40)).astype(np.int32)
    lengths = [len(list(run)) for _, run in groupby(labels.tolist())]
    expected = np.bincount(np.minimum(lengths, MOST_FRAMES), minlength=MOST_FRAMES + 1)[1:]
    np.testing.assert_array_equal(count_runs(labels), expected)


def test_the_last_entry_holds_all_longer_runs_and_a_clip_without_frames_has_none():
    counts = count_runs(np.array([3] * (MOST_FRAMES + 50) + [1] * MOST_FRAMES + [3], np.int32))
    assert (counts[0], counts[-1], counts.sum()) == (1, 2, 3)
    assert count_runs(np.empty(0, np.int32)).sum() == 0


def test_means_are_exact_in_frames_and_seconds():
    labels = np.array([5] * 230 + [2] * 10, np.int32)
    facts = run_length_facts(count_runs(labels), num_frames=240, frame_rate=50.0)
    assert (facts["num_runs"], facts["mean_frames"], facts["mean_s"]) == (2, 120.0, 2.4)
    assert len(facts["counts"]) == MOST_FRAMES
    nothing = run_length_facts(count_runs(labels[:0]), num_frames=0, frame_rate=50.0)
    assert (nothing["num_runs"], nothing["mean_s"]) == (0, 0.0)
