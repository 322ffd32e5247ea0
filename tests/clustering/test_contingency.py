import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from ray_musicssl.clustering.contingency import Agreement, Contingency, count_pairs

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), min_size=1, max_size=60)


def table_of(labels, classes, num_clusters=7, num_classes=5):
    return count_pairs(np.array(labels), np.array(classes), num_clusters=num_clusters, num_classes=num_classes)


@given(PAIRS)
def test_nmi_and_pnmi_are_scikit_learn_s(pairs):
    labels, classes = zip(*pairs, strict=True)
    found = table_of(labels, classes).agreement()
    if len(set(classes)) > 1:  # scikit-learn calls a single class perfectly told; here there is nothing to tell
        assert found.pnmi == pytest.approx(metrics.homogeneity_score(classes, labels), abs=1e-9)
        assert found.nmi == pytest.approx(metrics.normalized_mutual_info_score(classes, labels), abs=1e-9)
        assert found.nmi == pytest.approx(metrics.v_measure_score(classes, labels), abs=1e-9)
    else:
        assert found.pnmi == 0


@given(PAIRS)
def test_purities_are_those_counted_by_hand(pairs):
    labels, classes = map(np.array, zip(*pairs, strict=True))
    right = sum(np.bincount(classes[labels == cluster]).max() for cluster in set(labels.tolist()))
    told = sum(np.bincount(labels[classes == name]).max() for name in set(classes.tolist()))
    found = table_of(labels, classes).agreement()
    assert (found.class_purity, found.cluster_purity) == (right / len(labels), told / len(labels))
    assert found.num_classes == len(set(classes.tolist()))


@pytest.mark.parametrize("num_parts", [1, 2, 7])
def test_tables_of_parts_add_up_to_the_table_of_all(num_parts):
    rng = np.random.default_rng(0)
    labels, classes = rng.integers(0, 7, 200), rng.integers(-1, 5, 200)
    parts = [table_of(*part) for part in zip(*(np.array_split(x, num_parts) for x in (labels, classes)), strict=True)]
    total = parts[0]
    for part in parts[1:]:
        total += part
    np.testing.assert_array_equal(total.counts, table_of(labels, classes).counts)
    assert total.num_frames == (classes >= 0).sum()


def test_shuffled_tables_keep_both_sums_and_lose_the_agreement():
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 5, 20_000)
    table = table_of(classes + (classes == 4), classes)  # cluster 4 and 6 are empty
    drawn = table.shuffled(0)
    np.testing.assert_array_equal(drawn.counts.sum(axis=0), table.counts.sum(axis=0))
    np.testing.assert_array_equal(drawn.counts.sum(axis=1), table.counts.sum(axis=1))
    np.testing.assert_array_equal(drawn.counts, table.shuffled(0).counts)
    assert table.agreement().pnmi == pytest.approx(1)
    chance = drawn.agreement()
    assert chance.pnmi < 0.002
    # A real shuffling of the frames says the same within its own spread.
    shuffled = table_of(rng.permutation(classes), classes).agreement()
    assert chance.class_purity == pytest.approx(shuffled.class_purity, abs=0.02)


def test_an_empty_table_says_nothing():
    empty = table_of([], [])
    assert empty.agreement() == empty.shuffled(0).agreement()
    assert empty.agreement() == Agreement(
        num_frames=0, num_classes=0, class_purity=0.0, cluster_purity=0.0, nmi=0.0, pnmi=0.0
    )
    assert Contingency(np.array([[3, 0]])).agreement().pnmi == 0


@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        ([7], [0], r"a label lies in 7\.\.7; it must lie in 0\.\.6"),
        ([0], [5], r"a class lies in 5\.\.5; it must lie in 0\.\.4"),
        ([0, 1], [0], "2 labels and 1 classes"),
    ],
)
def test_what_cannot_be_counted_is_refused(labels, classes, words):
    with pytest.raises(ValueError, match=words):
        table_of(labels, classes)
