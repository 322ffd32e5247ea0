"""Whether a cluster has room for a run: without it Ray waits for ever, and says nothing."""

import logging
import os

import ray

from ray_musicssl.config.scaling import ScalingConfig
from ray_musicssl.errors import EnvironmentFaultError

logger = logging.getLogger(__name__)

# Half a logical CPU a thread leaves the readers of the stream some room on a small machine.
CPUS_PER_THREAD = 0.5
READER_CPUS = 0.25


def worker_resources(scaling: ScalingConfig) -> dict[str, float]:
    """What one training worker reserves."""
    return {"CPU": CPUS_PER_THREAD * scaling.threads_per_worker, **({"GPU": 1.0} if scaling.use_gpu else {})}


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
