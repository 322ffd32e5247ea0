"""Running the package's own commands, as its users do."""

import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Event


def musicssl(*words: object) -> None:
    """Run a command of the package.

    Raises:
        CalledProcessError: if it fails.
    """
    subprocess.run([sys.executable, "-m", "ray_musicssl.cli", *map(str, words)], check=True)


def run_all(jobs: Iterable[Callable[[], None]], at_once: int) -> None:
    """Run jobs, some at a time; once one fails none is begun any more, and its error ends this when those that run have."""
    stopped = Event()

    def run(job: Callable[[], None]) -> None:
        if stopped.is_set():
            return
        try:
            job()
        except BaseException:
            stopped.set()
            raise

    with ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(run, job) for job in jobs]
        try:
            for future in futures:
                future.result()
        finally:
            stopped.set()  # for Ctrl-C while this waits
