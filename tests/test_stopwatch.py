import json

import pytest

from ray_musicssl import stopwatch as module
from ray_musicssl.stopwatch import Stopwatch


@pytest.fixture
def path(tmp_path):
    return tmp_path / "timings.json"


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves when told."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def stages(path):
    return [(row["stage"], round(row["seconds"], 6)) for row in json.loads(path.read_text())["stages"]]


def time_stage(watch, clock, name, seconds):
    with watch.stage(name):
        clock.now += seconds


def test_stages_are_listed_in_the_order_in_which_they_first_ran(path, clock):
    watch = Stopwatch(path)
    for name, seconds in (("prepare", 3.0), ("kmeans", 2.0), ("prepare", 4.0)):
        time_stage(watch, clock, name, seconds)
    assert stages(path) == [("prepare", 4.0), ("kmeans", 2.0)]


def test_a_stage_that_only_found_itself_done_keeps_the_time_it_took(path, clock):
    time_stage(Stopwatch(path), clock, "prepare", 30.0)
    time_stage(Stopwatch(path), clock, "prepare", 4.0)  # Ray alone takes some seconds to start
    assert stages(path) == [("prepare", 30.0)]


def test_a_short_stage_has_its_memory_noted(path, clock, monkeypatch):
    monkeypatch.setattr(module, "_tree_bytes", lambda: 3 << 30)
    time_stage(Stopwatch(path), clock, "prepare", 0.4)
    assert json.loads(path.read_text())["stages"][0]["peak_rss_gib"] == 3.0


def test_a_second_run_goes_on_with_the_first_one_s_table(path, clock):
    time_stage(Stopwatch(path), clock, "prepare", 30.0)
    time_stage(Stopwatch(path), clock, "kmeans", 0.2)
    assert stages(path) == [("prepare", 30.0), ("kmeans", 0.2)]


def test_a_stage_that_failed_is_not_timed(path, clock):
    with pytest.raises(RuntimeError, match="inside"), Stopwatch(path).stage("prepare"):
        raise RuntimeError("inside")
    assert not path.exists()


def test_the_peak_is_the_most_memory_that_was_seen(path, monkeypatch):
    sizes = iter([1 << 30, 3 << 30, 2 << 30])
    seen = []

    class Stop:
        """Stands in for the event: it lets two samples pass, and one is taken at the end."""

        def wait(self, seconds):
            return len(seen) == 2

    def tree_bytes():
        seen.append(next(sizes))
        return seen[-1]

    monkeypatch.setattr(module, "_tree_bytes", tree_bytes)
    peaks = [0]
    module._sample(Stop(), peaks)
    assert peaks == [3 << 30]


def test_the_memory_of_this_process_is_counted():
    import psutil

    held = psutil.Process().memory_info().rss
    assert held / 4 < module._tree_bytes()


def test_the_machine_is_described_beside_the_times(path, clock):
    time_stage(Stopwatch(path), clock, "prepare", 1.5)
    machine = json.loads(path.read_text())["machine"]
    assert machine["cores"] >= 1
    assert machine["memory_gib"] > 0
    assert {"system", "architecture"} <= set(machine)
