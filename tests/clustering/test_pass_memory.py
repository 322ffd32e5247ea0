from operator import add

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_musicssl.clustering.pass_memory import PassMemory
from ray_musicssl.clustering.tree import MOST_PARTS_A_GROUP, TreeSum, aligned_groups


def most_waiting(num_parts):
    """Sums that wait while the last part is worked on, as a stream of so many parts leaves them."""
    total, most = TreeSum(add), 0
    for number in range(num_parts):
        most = max(most, len(total._waiting))
        total.push(number)
    return most


@pytest.mark.parametrize(
    ("num_clusters", "dim", "blocks"),
    [(500, 39, 16), (2000, 768, 16), (5000, 768, 4), (20_000, 768, 2), (40_000, 768, 1), (100_000, 768, 1)],
)
def test_large_codebooks_have_few_blocks_a_group(num_clusters, dim, blocks):
    memory = PassMemory(num_clusters=num_clusters, dim=dim, block_frames=10**6)
    assert memory.blocks_a_group == blocks
    groups = aligned_groups(10_000, 4, memory.blocks_a_group)
    assert {len(group) for group in groups} == {blocks}


@given(num_clusters=st.integers(2, 100_000), dim=st.integers(1, 2048), block_frames=st.integers(1, 10**7))
def test_sums_that_wait_are_few_beside_what_one_block_takes(num_clusters, dim, block_frames):
    memory = PassMemory(num_clusters=num_clusters, dim=dim, block_frames=block_frames)
    waiting = most_waiting(memory.blocks_a_group) * memory.result_bytes
    assert waiting <= 0.1 * memory.block_bytes
    assert memory.task_bytes == memory.block_bytes + waiting


def test_groups_of_any_size_would_hold_sums_that_are_many():
    memory = PassMemory(num_clusters=20_000, dim=768, block_frames=10**6)
    assert most_waiting(MOST_PARTS_A_GROUP) * memory.result_bytes > 0.3 * memory.block_bytes


# Source: as the module says; `partial_sums` on one block, Linux, an Intel processor with AVX512-VNNI.
@pytest.mark.parametrize(
    ("num_clusters", "dim", "measured_mb"),
    [(2000, 39, 626), (5000, 768, 805), (10_000, 768, 1011), (20_000, 768, 1358), (40_000, 768, 2005)],
)
def test_what_is_counted_is_about_what_was_measured(num_clusters, dim, measured_mb):
    counted = PassMemory(num_clusters=num_clusters, dim=dim, block_frames=10**6).block_bytes
    assert 0.98 <= counted / (measured_mb * 1e6) <= 1.11
