"""How many workers, and what each may use. What is learned is the same within rounding; the last bits are not.

Conventions:
    The weights are the same to the last bit on equal devices with equal `threads_per_worker`, and an equal number of workers
    unless `training.reduce=ordered`: other threads or devices add up the same numbers in another order.
"""

from pydantic import Field

from ray_musicssl.config.section import Section

# Half a logical CPU a thread leaves the readers of the stream some room on a small machine.
CPUS_PER_THREAD = 0.5


class ScalingConfig(Section):
    """Workers of the training stage."""

    num_workers: int = Field(default=8, ge=0)
    """Data-parallel workers; 0 trains inside the calling process."""
    use_gpu: bool = True
    """One GPU a worker, nccl; false: CPU, gloo."""
    threads_per_worker: int = Field(default=1, ge=1)
    """Threads of one CPU worker's matrix products; another number rounds differently."""

    @property
    def cpus_per_worker(self) -> float:
        """What one worker reserves."""
        return CPUS_PER_THREAD * self.threads_per_worker

    @property
    def gpus_per_worker(self) -> float:
        """What one worker reserves."""
        return float(self.use_gpu and self.num_workers > 0)
