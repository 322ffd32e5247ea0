import pytest
from pydantic import ValidationError

from ray_musicssl.config.clustering import LARGEST_SAMPLED_SEEDING, ClusteringConfig


def test_settings_that_leave_the_centroids_alone_are_no_part_of_the_identity():
    plain = ClusteringConfig().identity
    assert plain.keys() == {"num_clusters", "num_iterations", "tolerance", "max_frames", "seed"}
    for same in ({"frames": "recompute"}, {"seeding": "kmeans++"}, {"batch_frames": 5}):
        assert ClusteringConfig(**same).identity == plain


@pytest.mark.parametrize(
    "other", [{"seeding": "kmeans||"}, {"algorithm": "minibatch"}, {"gpus_per_task": 0.5}, {"num_clusters": 7000}]
)
def test_settings_that_move_the_centroids_are(other):
    assert ClusteringConfig(**other).identity != ClusteringConfig().identity
    assert ClusteringConfig(**{**other, "frames": "disk"}).identity == ClusteringConfig(**other).identity


def test_mini_batches_know_no_tolerance():
    few, many = (ClusteringConfig(algorithm="minibatch", batch_frames=size) for size in (10, 20))
    assert few.identity != many.identity
    loose = ClusteringConfig(algorithm="minibatch", batch_frames=10, tolerance=0.5)
    assert loose.identity == few.identity
    assert loose.idle_settings == ["tolerance"]
    assert ClusteringConfig(batch_frames=10).idle_settings == ["batch_frames"]
    assert ClusteringConfig(tolerance=0.5, batch_frames=10_000).idle_settings == []


@pytest.mark.parametrize(
    ("num_clusters", "expected"), [(LARGEST_SAMPLED_SEEDING, "kmeans++"), (LARGEST_SAMPLED_SEEDING + 1, "kmeans||")]
)
def test_large_codebooks_are_seeded_by_passes_over_all_frames(num_clusters, expected):
    assert ClusteringConfig(num_clusters=num_clusters).resolved_seeding == expected


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"algorithm": "minibatch", "frames": "recompute"}, "exclude each other.*set frames=disk or algorithm=lloyd"),
        ({"num_clusters": 10, "max_frames": 9}, "max_frames=9 is below num_clusters=10"),
        ({"algorithm": "online"}, "'lloyd' or 'minibatch'"),
        ({"gpus_per_task": 2}, "less than or equal to 1"),
        ({"num_clusters": 100_001}, "less than or equal to 100000"),
    ],
)
def test_impossible_settings_are_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        ClusteringConfig(**settings)
