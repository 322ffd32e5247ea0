import logging

import numpy as np
import pytest

from ray_musicssl.clustering.quality import judge, log_warnings, warnings_of

EVEN = [1000] * 100
SETTLED = [100.0, 80.0, 79.0, 78.99]
SHORT_RUNS = [0, *[9000] * 3, *[1000] * 10]


def run_counts(mean_frames):
    """As many runs of one length that 100,000 frames hold."""
    return [*[0] * mean_frames, 100_000 // mean_frames]


def measures(**given):
    return [finding.measure for finding in judge(**given) if finding.is_warning]


def test_a_codebook_as_music_gives_it_has_no_warning():
    rng = np.random.default_rng(0)
    usage = (rng.dirichlet(np.full(100, 3.0)) * 90_000).astype(int).tolist()
    findings = judge(usage=usage, inertia=SETTLED, runs=run_counts(5), frame_rate=100.0)
    assert warnings_of(findings) == []
    assert [finding.measure for finding in findings] == [
        *("dead clusters", "clusters in effective use", "label entropy", "fullest cluster"),
        *("frames a cluster", "largest rise of the inertia", "last fall of the inertia", "mean run of a label"),
    ]


@pytest.mark.parametrize(
    ("given", "measure"),
    [
        ({"usage": [0, 0, *[1000] * 98]}, "dead clusters"),
        ({"usage": [300_000, *[1000] * 99]}, "clusters in effective use"),
        ({"usage": [400_000, *[1000] * 99]}, "label entropy"),
        ({"usage": [26_000, *[1000] * 99]}, "fullest cluster"),
        ({"usage": [38] * 100, "inertia": SETTLED}, "frames a cluster"),
        ({"inertia": [100.0, 80.0, 80.1]}, "largest rise of the inertia"),
        ({"inertia": [100.0, 80.0, 79.0]}, "last fall of the inertia"),
        ({"inertia": [100.0, float("nan")]}, "inertia"),
        ({"usage": EVEN, "runs": run_counts(1), "frame_rate": 50.0}, "mean run of a label"),
        ({"usage": EVEN, "runs": run_counts(25), "frame_rate": 50.0}, "mean run of a label"),
    ],
)
def test_each_quantity_outside_its_band_is_told_with_a_remedy(given, measure):
    assert measure in measures(**given)
    (finding,) = [finding for finding in judge(**given) if finding.measure == measure]
    assert finding.sentence.startswith(f"{measure}: {finding.found} (normal: {finding.normal}); ")


@pytest.mark.parametrize(
    ("given", "measure"),
    [
        ({"usage": [0, *[1000] * 99]}, "dead clusters"),
        ({"usage": [24_000, *[1000] * 99]}, "fullest cluster"),
        ({"usage": [39] * 100, "inertia": SETTLED}, "frames a cluster"),
        ({"inertia": [100.0, 80.0, 80.05]}, "largest rise of the inertia"),
        ({"usage": EVEN, "runs": run_counts(20), "frame_rate": 50.0}, "mean run of a label"),
    ],
)
def test_the_band_itself_is_normal(given, measure):
    assert measure not in measures(**given)


def test_the_band_of_the_fullest_cluster_leaves_room_for_few_clusters():
    assert measures(usage=[55, 45]) == []
    assert "fullest cluster" in measures(usage=[200, 10, 10, 10])


def test_rounds_of_mini_batches_are_not_held_to_the_bands_of_updates():
    rng = np.random.default_rng(0)
    estimates = 100 * (1 + 0.05 * rng.normal(size=30))
    rounds = [*estimates, 0.9 * estimates[-1]]  # the last one is exact: over all frames, after all steps
    assert {"largest rise of the inertia", "last fall of the inertia"} <= set(measures(inertia=rounds))
    findings = judge(usage=EVEN, inertia=rounds, algorithm="minibatch")
    assert warnings_of(findings) == []
    assert [finding.measure for finding in findings][-2:] == ["fullest cluster", "frames a cluster"]
    assert measures(inertia=[100.0, float("nan")], algorithm="minibatch") == ["inertia"]


def test_what_is_not_given_is_not_judged():
    assert judge() == []
    assert judge(usage=[0, 0], inertia=[3.0]) == []
    with pytest.raises(ValueError, match="their rate, which is 0"):
        judge(usage=EVEN, runs=run_counts(5))


def test_runs_of_one_label_for_nearly_all_frames_are_too_long_not_too_short():
    (finding,) = [f for f in judge(usage=[99_990, 10], runs=run_counts(30), frame_rate=50.0) if "run" in f.measure]
    assert (finding.normal, "neighbours" in finding.warning) == ("20.0 to 20 frames", True)


def test_warnings_name_what_they_are_about(caplog):
    with caplog.at_level(logging.WARNING):
        log_warnings(judge(inertia=[100.0, 50.0]), "codebook x")
        log_warnings(judge(inertia=SETTLED), "codebook y")
    (record,) = caplog.records
    assert record.getMessage() == (
        "codebook x: last fall of the inertia: 0.5 of it (normal: at most 0.001); the fit had not settled; "
        "raise clustering.num_iterations"
    )
