"""Passes over all blocks of frames, as Ray tasks.

Conventions:
    A pass is one task for each aligned group of blocks, which adds up its blocks along the tree over block numbers, and
    small tasks that merge the groups' results along the same tree: the driver is sent one result. Tasks keep nothing.
    The bits do not depend on the number of workers, on the groups, or on which task ended first.
    What a task holds, and so how many blocks a group may have, is counted in `pass_memory.py`. It asks Ray for that much of
    its node's memory, so that no more tasks run on a node than it can hold.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import ray
from jaxtyping import Float32, Int64

from ray_musicssl.clustering.block_files import slab_rows
from ray_musicssl.clustering.pass_memory import PassMemory
from ray_musicssl.clustering.sums import ClusterSums, Farthest, farthest, one_blas_thread, sums_of_slabs
from ray_musicssl.clustering.tree import TreeSum, add_along_tree, aligned_groups
from ray_musicssl.on_ray.block_frames import Block
from ray_musicssl.on_ray.room import TaskRoom, memory_to_ask_for
from ray_musicssl.on_ray.session import TASK_RETRIES, result_of

ResultT = TypeVar("ResultT")
Merge = Callable[[ResultT, ResultT], ResultT]


class Blocks:
    """All blocks of a fit, in the order of their numbers; what `iterate` makes its passes over."""

    def __init__(self, blocks: Sequence[Block], room: TaskRoom, *, num_clusters: int) -> None:
        self.sizes = tuple(block.num_frames for block in blocks)
        self.dim = blocks[0].files.dim
        self.device = room.device
        self._makes_frames = blocks[0].clips is not None  # in every pass, where all other passes make them
        self._room = room
        memory = PassMemory(num_clusters=num_clusters, dim=self.dim, block_frames=max(self.sizes))
        what = f"a pass for clustering.num_clusters={num_clusters} of {self.dim} dimensions"
        self._memory_bytes = memory_to_ask_for(memory.task_bytes, what)
        groups = aligned_groups(len(blocks), room.num_slots, memory.blocks_a_group)
        self._groups = [ray.put([blocks[number] for number in group]) for group in groups]
        self._remote: dict[Callable[..., Any], Any] = {}
        self._group_of = np.repeat(np.arange(len(groups)), [len(group) for group in groups])

    @property
    def num_frames(self) -> int:
        """Frames in all blocks."""
        return sum(self.sizes)

    def start(
        self, function: Callable[..., Any], *arguments: Any, holds_gpu: bool = True, holds_sums: bool = True
    ) -> ray.ObjectRef:
        """Run a function of a module as a task of this fit; references among its arguments are resolved.

        Args:
            function: what the task does.
            arguments: what it does it with.
            holds_gpu: whether it asks for the share of a GPU that tasks of this fit have.
            holds_sums: whether it asks for the memory that a pass takes.
        """
        if function not in self._remote:
            options: dict[str, Any] = {"num_cpus": self._room.num_cpus, "max_retries": TASK_RETRIES}
            memory = {"memory": self._memory_bytes} if holds_sums else {}
            remote = ray.remote(num_gpus=self._room.num_gpus if holds_gpu else 0)(function)  # here: as `run_tasks`
            self._remote[function] = remote.options(**options, **memory)
        return self._remote[function].remote(*arguments)

    def over_all(self, work: Callable[..., ResultT], merge: Merge[ResultT], *arguments: Any) -> ResultT:
        """What all blocks give together.

        Args:
            work: called in tasks as `work(block, *arguments)`.
            merge: adds the results of two runs of blocks, the first first.
            arguments: shared by all tasks; references are resolved.

        Raises:
            DataError: if a block cannot be read or made.
        """
        parts = self._start_groups(_along_tree, work, merge, *arguments)
        return result_of(add_along_tree(parts, lambda one, two: self.start(_merged, merge, one, two, holds_gpu=False)))

    def _start_groups(self, function: Callable[..., Any], *arguments: Any) -> list[ray.ObjectRef]:
        return [self.start(function, group, *arguments) for group in self._groups]

    def sums(self, centroids: Float32[np.ndarray, "clusters dim"]) -> ClusterSums:
        """What all frames add up to, along the tree over block numbers."""
        return self.over_all(partial(sums_of, device=self.device), ClusterSums.__add__, ray.put(centroids))

    def farthest(self, centroids: Float32[np.ndarray, "clusters dim"], count: int) -> Farthest:
        """The `count` frames of all blocks that are farthest from their centroids."""
        work = partial(farthest_of, count=count, device=self.device)
        return self.over_all(work, partial(Farthest.merged, count=count), ray.put(centroids))

    def rows(self, wanted: Int64[np.ndarray, " rows"]) -> Float32[np.ndarray, "rows dim"]:
        """Some frames, by their ascending numbers in the sequence of all blocks."""
        ends = np.cumsum(self.sizes)
        shares = np.split(wanted, np.searchsorted(wanted, ends)[:-1])
        starts = ends - np.array(self.sizes)
        inside = {number: share - starts[number] for number, share in enumerate(shares) if len(share)}
        return np.concatenate(result_of(self.start_rows(inside)))

    def start_rows(self, wanted: dict[int, Int64[np.ndarray, " rows"]]) -> list[ray.ObjectRef]:
        """Begin to gather some frames of some blocks; each reference gives those of one group, in the blocks' order."""
        return [
            self.start(
                _rows_of,
                self._groups[group],
                {number: rows for number, rows in wanted.items() if self._group_of[number] == group},
                holds_gpu=self._makes_frames,
                holds_sums=False,
            )
            for group in sorted({int(self._group_of[number]) for number in wanted})
        ]


def sums_of(block: Block, centroids: Float32[np.ndarray, "clusters dim"], *, device: str = "cpu") -> ClusterSums:
    """What one block adds to a Lloyd iteration: its slabs' sums, in their order."""
    return sums_of_slabs(block.slabs(slab_rows(*centroids.shape)), centroids, device=device)


def farthest_of(
    block: Block, centroids: Float32[np.ndarray, "clusters dim"], *, count: int, device: str = "cpu"
) -> Farthest:
    """The `count` frames of one block that are farthest from their centroids."""
    found: Farthest | None = None
    start = 0
    for slab in block.slabs(slab_rows(*centroids.shape)):
        best = farthest(slab, centroids, count, block=block.number, device=device)
        best = replace(best, rows=best.rows + start)
        found = best if found is None else found.merged(best, count)
        start += len(slab)
    assert found is not None, "a block has at least one frame"
    return found


def _along_tree(
    blocks: Sequence[Block], work: Callable[..., ResultT], merge: Merge[ResultT], *arguments: Any
) -> ResultT:
    total = TreeSum(merge)
    with one_blas_thread():
        for block in blocks:
            total.push(work(block, *arguments))
    return total.total()


def _merged(merge: Merge[ResultT], one: ResultT, two: ResultT) -> ResultT:
    return merge(one, two)


def _rows_of(blocks: Sequence[Block], wanted: dict[int, Int64[np.ndarray, " rows"]]) -> Float32[np.ndarray, "rows dim"]:
    first = blocks[0].number
    return np.concatenate([blocks[number - first].rows(rows) for number, rows in wanted.items()])
