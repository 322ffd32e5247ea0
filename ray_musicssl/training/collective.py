"""What workers say to each other; alone, every exchange is a no-op."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch import distributed as dist


class Collective:
    """The workers of one run, through torch.distributed if it is up."""

    def __init__(self) -> None:
        together = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if together else 0
        self.num_workers = dist.get_world_size() if together else 1

    def add_up(self, tensor: Tensor) -> None:
        """Replace `tensor` by its sum over all workers."""
        if self.num_workers > 1:
            dist.all_reduce(tensor)

    def in_rank_order(self, tensor: Tensor) -> Iterator[Tensor]:
        """Every worker's `tensor`, rank 0 first."""
        if self.num_workers == 1:
            yield tensor
            return
        gathered = [torch.empty_like(tensor) for _ in range(self.num_workers)]
        dist.all_gather(gathered, tensor)
        yield from gathered
