"""Whether a cluster has room for a run: without it Ray waits for ever, and says nothing."""

import logging
import os
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
