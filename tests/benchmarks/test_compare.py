import os
from collections.abc import Mapping
from dataclasses import replace

import pytest

from benchmarks.compare import Case, Step, Timing, as_json, best_peer, compare, markdown


def spin(loops: int) -> Step:
    def step() -> Mapping[str, float]:
        return {"sum": float(sum(range(loops))), "threads": float(os.environ["OMP_NUM_THREADS"])}

    return step


def fail() -> Step:
    raise ValueError("there is no such thing")


def timing(name, cpu_s, *, is_ours=False, is_peer=True):
    case = Case(name=name, prepare=spin, num_items=12, is_ours=is_ours, is_peer=is_peer)
    return Timing(case=case, cpu_s=cpu_s, wall_s=cpu_s, peak_mb=1.0, scores={"inertia": 2.5})


def test_each_case_runs_in_its_own_process_as_often_as_asked():
    cases = [
        Case(name="short", prepare=spin, num_items=1, arguments={"loops": 10_000}, is_ours=True),
        Case(name="long", prepare=spin, num_items=1, arguments={"loops": 2_000_000}),
    ]
    before = os.environ.get("OMP_NUM_THREADS")
    short, long = compare(cases, rounds=2, num_threads=1)
    assert os.environ.get("OMP_NUM_THREADS") == before
    assert len(short.cpu_s) == len(long.wall_s) == 2
    assert short.scores == {"sum": sum(range(10_000)), "threads": 1}
    assert short.ratio_to(long) > 2
    assert long.peak_mb > 1


def test_a_case_that_fails_is_named_with_its_reason():
    with pytest.raises(RuntimeError, match=r"case 'bad' failed:(?s:.*)there is no such thing"):
        compare([Case(name="bad", prepare=fail, num_items=1)], rounds=1)


def test_two_cases_of_one_name_are_refused():
    case = Case(name="twin", prepare=spin, num_items=1)
    with pytest.raises(ValueError, match="each name once"):
        compare([case, case])


def test_ratios_are_medians_of_paired_rounds_to_the_best_peer():
    ours = timing("ours", (1.0, 2.0, 4.0), is_ours=True)
    good, slow = timing("good", (2.0, 5.0, 8.0)), timing("slow", (9.0, 9.0, 9.0))
    other = timing("another function", (0.1, 0.1, 0.1), is_peer=False)
    assert best_peer([ours, slow, good, other]) is good
    assert ours.ratio_to(good) == 2.0  # of 2, 2.5 and 2
    table = markdown([ours, good, slow, other], title="39-d", item="rows")
    assert "| **ours** | 2.000 | 2.000 | 6 | 2.00 | 2.00 | 1 | 2.5 |" in table
    assert "ratios to good" in table
    assert as_json([ours, good], title="39-d")["cases"][0]["cpu_ratio"] == 2.0


def test_a_case_that_works_through_more_is_compared_by_the_item():
    ours, less = timing("ours", (3.0, 3.0, 3.0), is_ours=True), timing("less", (2.0, 2.0, 2.0))
    less = replace(less, case=replace(less.case, num_items=ours.case.num_items / 2))
    assert ours.ratio_to(less) == ours.wall_ratio_to(less) == pytest.approx(4 / 3)
    best = best_peer([ours, less, timing("more", (3.5, 3.5, 3.5))])
    assert best is not None
    assert best.case.name == "more"


def test_without_a_peer_there_is_no_ratio():
    assert "| - | - |" in markdown([timing("ours", (1.0,), is_ours=True)], title="alone")
