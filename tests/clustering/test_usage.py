import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from ray_musicssl.clustering.usage import ClusterUsage, mean_run, run_lengths


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30).filter(any))
def test_entropy_and_perplexity_are_scipy_s(counts):
    usage = ClusterUsage(counts)
    assert usage.entropy_bits == pytest.approx(scipy.stats.entropy(counts, base=2), abs=1e-9)
    assert usage.effective == pytest.approx(math.exp(scipy.stats.entropy(counts)))
    assert usage.entropy_bits <= usage.max_bits + 1e-9
    assert (usage.num_dead, usage.largest_share) == (counts.count(0), max(counts) / sum(counts))


@given(st.lists(st.integers(0, 2), max_size=60), st.integers(1, 6))
def test_runs_are_those_of_groupby(labels, longest):
    lengths = [min(longest, len(list(group))) for _, group in itertools.groupby(labels)]
    expected = [lengths.count(length) for length in range(longest + 1)]
    assert run_lengths(np.array(labels, np.int32), longest).tolist() == expected


def test_the_mean_run_counts_long_runs_whole():
    labels = np.repeat([1, 2, 1], [500, 1, 99])
    assert mean_run(len(labels), run_lengths(labels, longest=10).tolist()) == 200
    assert mean_run(0, []) == 0


def test_chance_runs_are_those_of_labels_drawn_anew():
    counts = [500, 300, 200]
    drawn = np.random.default_rng(0).choice(3, 100_000, p=np.array(counts) / 1000)
    measured = mean_run(len(drawn), run_lengths(drawn).tolist())
    assert ClusterUsage(counts).chance_run == pytest.approx(measured, rel=0.01)
    assert ClusterUsage([5, 0]).chance_run == math.inf


def test_a_usage_without_frames_says_nothing():
    empty = ClusterUsage([0, 0])
    assert (empty.entropy_bits, empty.effective, empty.largest_share, empty.num_dead) == (0, 0, 0, 2)
