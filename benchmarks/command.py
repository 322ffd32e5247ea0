"""Running the package's own commands, as its users do."""

import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor


def musicssl(*words: object) -> None:
    """Run a command of the package.

    Raises:
        CalledProcessError: if it fails.
    """
    subprocess.run([sys.executable, "-m", "ray_musicssl.cli", *map(str, words)], check=True)


def run_all(jobs: Iterable[Callable[[], None]], at_once: int) -> None:
    """Run jobs, some at a time; the first error of one ends this one, once those that run have ended."""
    with ThreadPoolExecutor(at_once) as pool:
        for future in [pool.submit(job) for job in jobs]:
            future.result()
