"""Jobs that run side by side, and what one that fails does to the others."""

from threading import Event
from time import monotonic

import pytest

from benchmarks.command import run_all


def test_all_jobs_run_and_no_more_at_once_than_allowed():
    running, most, done = [], [], []

    def job(number):
        running.append(number)
        most.append(len(running))
        done.append(number)
        running.remove(number)

    run_all([lambda number=number: job(number) for number in range(20)], at_once=2)
    assert sorted(done) == list(range(20))
    assert max(most) <= 2


def test_after_an_error_nothing_is_begun_but_what_runs_is_let_end():
    begun, ended, failing = [], [], Event()

    def fail():
        failing.set()
        raise ValueError("the disk is full")

    def run_on():
        begun.append("beside")
        failing.wait(10)
        until = monotonic() + 0.05
        while monotonic() < until:  # longer than it takes to fail
            pass
        ended.append("beside")

    def later():
        begun.append("later")

    with pytest.raises(ValueError, match="the disk is full"):
        run_all([run_on, fail, *[later] * 50], at_once=2)
    assert begun == ended == ["beside"]
