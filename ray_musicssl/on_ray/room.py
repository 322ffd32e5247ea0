"""Whether a cluster has room for a run: without it Ray waits for ever, and says nothing."""

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import ray

from ray_musicssl.config.scaling import CPUS_PER_THREAD, ScalingConfig
from ray_musicssl.errors import ConfigError, EnvironmentFaultError

logger = logging.getLogger(__name__)

READER_CPUS = 0.25


def worker_resources(scaling: ScalingConfig) -> dict[str, float]:
    """What one training worker reserves."""
    return {"CPU": scaling.cpus_per_worker, **({"GPU": 1.0} if scaling.use_gpu else {})}


def check_room(scaling: ScalingConfig) -> None:
    """Compare what the workers and one reader of their stream need with what the connected cluster has in all.

    A cluster that `RAY_ADDRESS` names may grow or have nodes still on their way: there, a lack is only a warning.

    Raises:
        EnvironmentFaultError: if the cluster of this machine lacks CPUs or GPUs; the run would wait for them for ever.
    """
    has = ray.cluster_resources()
    each = worker_resources(scaling)
    need = {name: scaling.num_workers * amount for name, amount in each.items()}
    need["CPU"] += READER_CPUS
    lacking = [
        f"{need[name]:g} {name}s (it has {has.get(name, 0):g})" for name in need if need[name] > has.get(name, 0)
    ]
    if not lacking:
        return
    settings = f"scaling.num_workers={scaling.num_workers} scaling.threads_per_worker={scaling.threads_per_worker}"
    message = f"{settings} scaling.use_gpu={str(scaling.use_gpu).lower()} need {' and '.join(lacking)} of the cluster"
    if "RAY_ADDRESS" in os.environ:
        logger.warning("%s; the run waits until it has grown", message)
        return
    raise EnvironmentFaultError(
        f"{message}: {CPUS_PER_THREAD:g} CPUs a thread{' and a GPU a worker' if scaling.use_gpu else ''}, and "
        f"{READER_CPUS:g} for a reader of the stream; lower them, or set scaling.num_workers=0 to train on the CPU in one "
        f"process"
    )


@dataclass(frozen=True, kw_only=True)
class TaskRoom:
    """What each task of a stage asks for, and how many the connected cluster can run at once."""

    num_cpus: float = 1
    num_gpus: float = 0
    device: str = "cpu"  # where its matrix products run, `cpu` or `cuda`

    @property
    def num_slots(self) -> int:
        """Tasks at once, at least one."""
        has = ray.cluster_resources()
        slots = has.get("CPU", 1) / max(self.num_cpus, 0.1)
        return max(1, int(min(slots, has.get("GPU", 0) / self.num_gpus) if self.num_gpus else slots))


def check_gpus(gpus_per_task: float, setting: str) -> None:
    """Check that tasks which ask for GPUs can run, as far as it is known: before a cluster is started here, and after.

    Args:
        gpus_per_task: what a task asks for; 0 is always well.
        setting: the name of the setting that says so.

    Raises:
        ConfigError: if there is no GPU for a task; it would wait for ever.
    """
    if not gpus_per_task:
        return
    if ray.is_initialized():
        found, where = ray.cluster_resources().get("GPU", 0), "the cluster"
    elif os.environ.get("RAY_ADDRESS"):
        return  # known once connected
    else:
        import torch  # noqa: PLC0415  (seconds that a stage without GPUs does not need)

        found, where = torch.cuda.device_count(), "this machine"
    if found < gpus_per_task:
        raise ConfigError(
            f"{setting}={gpus_per_task:g} but {where} has {found:g} GPUs; set {setting}=0 to use CPUs, or RAY_ADDRESS to a "
            f"cluster with GPUs"
        )


def memory_to_ask_for(need_bytes: int, what: str) -> int:
    """What a task asks for of its node's memory, as Ray counts it, in bytes, so that no more tasks than fit run there.

    It is no more than the largest node has, or the task would wait for ever; then there is a warning.

    Args:
        need_bytes: what the task takes.
        what: what it does, for the warning.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    most = int(max((resources.get("memory", 0) for resources in nodes), default=need_bytes))
    if need_bytes > most:
        logger.warning(
            "%s takes about %.1f GB but no node has more than %.1f GB free for tasks; it may be killed: use nodes with more "
            "memory",
            *(what, need_bytes / 1e9, most / 1e9),
        )
    return min(need_bytes, most)


def runs_at_once(scalings: Sequence[ScalingConfig], *, own_cpus: float, task_cpus: float = 0.0) -> int:
    """How many of some runs the connected cluster can train side by side, each with a process that looks after it.

    Counted with the largest of them, so that no mixture of them waits for itself: Tune knows nothing of their workers.

    Args:
        scalings: of each run; at least one.
        own_cpus: what the process around a run reserves.
        task_cpus: what one of the tasks that a run starts after its training asks for; 0: it starts none.

    Raises:
        EnvironmentFaultError: if the cluster of this machine has no room for one of them.
    """
    for scaling in scalings:
        check_run_room(scaling, own_cpus=own_cpus, task_cpus=task_cpus)
    has = ray.cluster_resources()
    need = {"CPU": 0.0, "GPU": 0.0}
    for scaling in scalings:
        inner = {name: scaling.num_workers * amount for name, amount in worker_resources(scaling).items()}
        inner["CPU"] += trial_cpus(scaling, own_cpus) + (READER_CPUS if scaling.num_workers else 0)
        need = {name: max(amount, inner.get(name, 0.0)) for name, amount in need.items()}
    counts = [int(has.get(name, 0.0) / amount) for name, amount in need.items() if amount]
    if task_cpus:
        held = max(trial_cpus(scaling, own_cpus) for scaling in scalings)
        counts.append(_most_holders(held, task_cpus))
    return max(1, min(counts))


def check_run_room(scaling: ScalingConfig, *, own_cpus: float, task_cpus: float = 0.0) -> None:
    """Check that one run fits into the connected cluster, with the process around it and the tasks after it.

    A cluster that `RAY_ADDRESS` names may grow: there, a lack is only a warning.

    Raises:
        EnvironmentFaultError: if the cluster of this machine has no room for it.
    """
    check_room(scaling)
    held = trial_cpus(scaling, own_cpus)
    if not task_cpus or _most_holders(held, task_cpus) > 0:
        return
    sizes = ", ".join(f"{size:g}" for size in _node_cpus())
    message = (
        f"the process around a run holds {held:g} CPUs while its probes ask for {task_cpus:g} each, but the cluster's nodes "
        f"have {sizes}"
    )
    if "RAY_ADDRESS" in os.environ:
        logger.warning("%s; the probes wait until it has grown", message)
        return
    lower = "" if scaling.num_workers else " or lower scaling.threads_per_worker,"
    raise EnvironmentFaultError(
        f"{message}; use a machine with {math.ceil(held + task_cpus)} CPUs,{lower} or leave out --data and run "
        f"`musicssl probe` afterwards"
    )


def _most_holders(held: float, task_cpus: float) -> int:
    """How many processes may hold CPUs while their tasks wait, on whichever nodes, and still leave one whole task its room."""
    blocking = [int((size - task_cpus) / held) + 1 for size in _node_cpus() if size >= task_cpus]
    return max(0, sum(blocking) - 1)


def _node_cpus() -> list[float]:
    """The CPUs of each node of the connected cluster."""
    return [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]


def trial_cpus(scaling: ScalingConfig, own_cpus: float) -> float:
    """What the process around a run reserves: its own share, or a worker's where it trains itself."""
    return own_cpus if scaling.num_workers else max(own_cpus, scaling.cpus_per_worker)
