"""How long each stage of a pipeline took, and the most memory it and its children held."""

import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from ray_musicssl.run_dir import read_json, write_json

SAMPLE_EVERY_S = 5.0


class Stopwatch:
    """Keeps `timings.json`: stages in the order in which they first ran."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stages: dict[str, dict[str, str | float]] = {}
        if path.exists():
            self._stages = {row["stage"]: row for row in read_json(path)["stages"]}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and sample its memory; a stage that ran before keeps its longest run.

        A stage that only finds itself done, or has little left to do, thus keeps the time that the work took.
        """
        stop = threading.Event()
        peaks: list[int] = [0]
        sampler = threading.Thread(target=_sample, args=(stop, peaks), daemon=True)
        sampler.start()
        started = time.monotonic()
        try:
            yield
        finally:
            stop.set()
            sampler.join()
        seconds = time.monotonic() - started
        if name not in self._stages or seconds > float(self._stages[name]["seconds"]):
            self._stages[name] = {"stage": name, "seconds": seconds, "peak_rss_gib": peaks[0] / 2**30}
            self._write()

    def _write(self) -> None:
        machine = {
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "system": platform.system(),
            "architecture": platform.machine(),
        }
        write_json(self._path, {"stages": list(self._stages.values()), "machine": machine})


def _sample(stop: threading.Event, peaks: list[int]) -> None:
    is_over = False
    while not is_over:
        is_over = stop.wait(SAMPLE_EVERY_S)  # sampled then, too: most stages of a small run are over before
        peaks[0] = max(peaks[0], _tree_bytes())


def _tree_bytes() -> int:
    """Memory of this process and its descendants; pages that several share are counted once."""
    total = 0
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied, AttributeError):
            continue  # ended meanwhile, or a system without proportional sizes
    return total
