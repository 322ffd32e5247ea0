from operator import add

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ray_musicssl.clustering.tree import GROUPS_A_SLOT, MOST_PARTS_A_GROUP, TreeSum, add_along_tree, aligned_groups


def shown(one, two):
    return f"({one}{two})"


def streamed(parts):
    total = TreeSum(shown)
    for part in parts:
        total.push(part)
    return total.total()


@given(num_parts=st.integers(1, 200))
def test_parts_that_come_one_by_one_are_added_along_the_same_tree(num_parts):
    parts = [f".{i}" for i in range(num_parts)]
    assert streamed(parts) == add_along_tree(parts, shown)


@given(num_parts=st.integers(1, 300), num_slots=st.integers(1, 40), most_parts=st.sampled_from([1, 2, 4, 8, 16]))
@example(num_parts=7, num_slots=1, most_parts=16)
def test_groups_add_up_along_the_tree_of_their_parts_for_any_number_of_slots(num_parts, num_slots, most_parts):
    parts = [f".{i}" for i in range(num_parts)]
    groups = aligned_groups(num_parts, num_slots, most_parts)
    assert max(map(len, groups)) <= most_parts
    assert [number for group in groups for number in group] == list(range(num_parts))
    totals = [streamed([parts[number] for number in group]) for group in groups]
    assert add_along_tree(totals, shown) == add_along_tree(parts, shown)


def test_groups_that_are_not_aligned_would_give_another_tree():
    parts = [f".{i}" for i in range(6)]
    wrong = [streamed(parts[:3]), streamed(parts[3:])]
    assert add_along_tree(wrong, shown) != add_along_tree(parts, shown)


@given(num_parts=st.integers(1, 2000), num_slots=st.integers(1, 64))
def test_every_slot_has_two_to_four_groups_where_there_are_parts_enough(num_parts, num_slots):
    num_groups = len(aligned_groups(num_parts, num_slots))
    assert min(num_parts, GROUPS_A_SLOT * num_slots) <= num_groups
    fewest_of_full_groups = -(-num_parts // MOST_PARTS_A_GROUP)
    assert num_groups < 2 * GROUPS_A_SLOT * num_slots or num_groups in {num_parts, fewest_of_full_groups}


def test_what_a_group_holds_does_not_grow_with_the_parts():
    assert {len(group) for group in aligned_groups(100_000, 4)} == {MOST_PARTS_A_GROUP}


@pytest.mark.parametrize("num_parts", [1, 2, 255, 256, 1000])
def test_few_sums_are_held_at_once(num_parts):
    total = TreeSum(add)
    for number in range(num_parts):
        total.push(number)
        assert len(total._waiting) <= (number + 1).bit_length()
    assert total.total() == sum(range(num_parts))


def test_nothing_has_no_sum():
    with pytest.raises(ValueError, match="nothing to add"):
        TreeSum(add).total()
