"""One way to reach a cluster, and one way to run many tasks on it.

Conventions:
    `RAY_ADDRESS` names a running cluster (a job has it set); if it is absent or empty, a private one is started on this
    machine, bound to the loopback interface, with a token only its owner can read. It ends with the process.
"""

import logging
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil
import ray
from ray.exceptions import RayTaskError

from ray_musicssl.errors import EnvironmentFaultError, MusicsslError

logger = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

OBJECT_STORE_FRACTION = 0.2
OBJECT_STORE_MOST_BYTES = 2 << 30
OBJECT_STORE_LEAST_BYTES = 100 << 20
TASK_RETRIES = 3
START_TRIES = 3
_holders: list[str] = []  # blocks that keep the cluster; each ends it, unless another is left
_TOO_SLOW = "timed out during startup"


@contextmanager
def session(*, num_cpus: int | None = None) -> Iterator[None]:
    """Be connected to Ray while the block runs; a cluster that this call started ends with it.

    Args:
        num_cpus: logical CPUs of a cluster started here; the machine's cores by default. Ignored on a running cluster.
    """
    if ray.is_initialized():
        yield
        return
    connect(num_cpus=num_cpus)
    try:
        yield
    finally:
        if not _holders:
            ray.shutdown()


@contextmanager
def one_cluster() -> Iterator[None]:
    """Let all sessions inside the block share the cluster that the first of them starts; it ends with the block."""
    was_connected = ray.is_initialized()
    _holders.append("one_cluster")
    try:
        yield
    finally:
        _holders.pop()
        if not _holders and not was_connected and ray.is_initialized():
            ray.shutdown()


def connect(*, num_cpus: int | None = None) -> None:
    """Connect to the cluster that `RAY_ADDRESS` names, or start a private one.

    Raises:
        EnvironmentFaultError: if a private cluster does not start, as on an overloaded machine.
    """
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not os.environ.get("RAY_ADDRESS"):
        _private_token()
        options |= {
            "address": "local",  # without it, Ray joins a cluster that `ray start` left on this machine
            "num_cpus": num_cpus or os.cpu_count() or 1,
            "include_dashboard": False,
            "object_store_memory": _object_store_bytes(),
        }
    options["runtime_env"] = {"worker_process_setup_hook": _quiet_worker}
    _init(options)
    _quiet_worker()


def _init(options: dict[str, Any]) -> None:
    """Call `ray.init`, again if a private cluster was too slow: Ray gives its processes 30 s, a busy machine needs more."""
    tries = START_TRIES if "num_cpus" in options else 1
    for left in reversed(range(tries)):
        try:
            ray.init(**options)
        except Exception as error:  # Ray has no class of its own for this
            if _TOO_SLOW not in str(error):
                raise
            if left == 0:
                raise EnvironmentFaultError(
                    f"Ray did not start within 30 s, {tries} times in a row; is the machine overloaded? Try again when it is "
                    f"quieter, or name a running cluster with RAY_ADDRESS"
                ) from error
            logger.warning("Ray was slow to start; trying again")
        else:
            return


def _quiet_worker() -> None:
    """Keep a process's log to what concerns the user; runs first in every worker."""
    for name in (
        "ray.data",
        "ray.train",
        "ray.train.v2._internal.execution.controller.placement_group_cleaner",
    ):
        logging.getLogger(name).setLevel(logging.ERROR)


def _private_token() -> None:
    """Have a token file that only its owner can read, before Ray makes one with wider rights."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_MODE") == "disabled":
        return
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    elif path.stat().st_uid == os.getuid() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        path.chmod(0o600)


def _object_store_bytes() -> int:
    memory = int(psutil.virtual_memory().available * OBJECT_STORE_FRACTION)
    return max(OBJECT_STORE_LEAST_BYTES, min(OBJECT_STORE_MOST_BYTES, memory))


def run_tasks(
    function: Callable[[ItemT], ResultT],
    items: Sequence[ItemT],
    *,
    num_cpus: float = 1,
    num_gpus: float = 0,
    memory_bytes: Sequence[int] = (),
) -> Iterator[tuple[int, ResultT]]:
    """Run `function` on each item as a Ray task and give `(index, result)` as they end, in any order.

    A task lost with its worker is tried again; one that raises raises here, as `result_of` does. Only a few more tasks than
    the cluster has room for are in flight, so a million items cost nothing to begin.

    Args:
        function: what a task does.
        items: its argument in each task.
        num_cpus: logical CPUs of a task.
        num_gpus: logical GPUs of a task.
        memory_bytes: what each item's task needs of its node's memory, as Ray counts it, so that no more tasks than fit run
            side by side; no node may have less, or the task waits for ever. Empty: memory is not counted.
    """
    remote = ray.remote(num_gpus=num_gpus)(function)  # said here, GPUs make Ray end the process after each task
    options: dict[str, Any] = {
        "num_cpus": num_cpus,
        "num_gpus": num_gpus,
        "max_retries": TASK_RETRIES,
        "scheduling_strategy": "DEFAULT",  # inside a trial of a sweep: on the cluster, not in the trial's own small share
    }
    room = 2 * max(1, int(ray.cluster_resources().get("CPU", 1) / max(num_cpus, 0.1)))
    pending: dict[ray.ObjectRef, int] = {}
    queue = iter(enumerate(items))
    while True:
        while len(pending) < room and (entry := next(queue, None)) is not None:
            index, item = entry
            if memory_bytes:
                options["memory"] = memory_bytes[index]
            pending[remote.options(**options).remote(item)] = index
        if not pending:
            return
        ready, _ = ray.wait(list(pending), num_returns=1)
        yield pending.pop(ready[0]), result_of(ready[0])


def result_of(refs: Any) -> Any:
    """What a reference, or each of a list of them, refers to, as `ray.get` gives it.

    Raises:
        MusicsslError: the task's own, without the traceback of the worker that Ray puts around it.
        RayError: for all else that ended the task.
    """
    try:
        return ray.get(refs)
    except RayTaskError as error:
        if isinstance(error.cause, MusicsslError):
            raise error.cause from None
        raise
