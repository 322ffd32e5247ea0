"""Two workers that share a process and add up their gradients there: the order of the sum, seen without Ray."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from ray_musicssl.on_ray.batches import StreamSpec, read_here
from ray_musicssl.run_dir import RunDir
from ray_musicssl.training import loop
from ray_musicssl.training.checkpoint import open_checkpoint
from ray_musicssl.training.loop import Run, Worker

NUM_STEPS = 3
# Threads share torch's generator, so nothing may be drawn from it.
FEW = (f"training.max_steps={NUM_STEPS}", "encoder.dropout=0")


class Together:
    """Stands in for `Collective`: the workers are threads, which lay down their tensors for each other."""

    def __init__(self, rank, barrier, tensors):
        self.rank = rank
        self.num_workers = len(tensors)
        self._barrier = barrier
        self._tensors = tensors

    def in_rank_order(self, tensor):
        self._tensors[self.rank] = tensor.clone()
        self._barrier.wait()
        everyones = list(self._tensors)
        self._barrier.wait()
        return everyones

    def add_up(self, tensor):
        tensor.copy_(sum(self.in_rank_order(tensor)))


def train_together(tiny, run_dir, num_workers, monkeypatch, *overrides):
    config = tiny.config(*FEW, *overrides)
    run = Run(config=config, run_dir=RunDir(run_dir), num_labels=[], label_entropy=0.0, provenance={})
    # These few steps are one chunk: all of the first worker's, then all of the second's.
    crops = list(read_here(StreamSpec.of(config, tiny.shards, [], num_workers), 0))
    barrier, tensors = threading.Barrier(num_workers, timeout=60), [torch.empty(0)] * num_workers
    workers = []
    for rank in range(num_workers):  # one after the other: first weights are drawn from torch's generator too
        monkeypatch.setattr(loop, "Collective", lambda rank=rank: Together(rank, barrier, tensors))
        workers.append(Worker(run, device=torch.device("cpu"), checkpoint=None))

    def work(rank):
        def save(step, write):
            if rank == 0:
                write(run_dir / "ended")

        workers[rank].train(crops[rank * NUM_STEPS : (rank + 1) * NUM_STEPS], save)

    with ThreadPoolExecutor(num_workers) as threads:
        for ended in [threads.submit(work, rank) for rank in range(num_workers)]:
            ended.result()
    return open_checkpoint(run_dir / "ended").content_hash


def test_ordered_reduction_adds_by_micro_batch_whoever_computed_it(tiny, tmp_path, monkeypatch):
    alone, two, four = (
        train_together(tiny, tmp_path / str(n), n, monkeypatch, "training.reduce=ordered") for n in (1, 2, 4)
    )
    assert alone == two == four


def test_adding_up_worker_by_worker_is_another_order(tiny, tmp_path, monkeypatch):
    """The twin of the equality above: it can fail."""
    alone, two = (train_together(tiny, tmp_path / str(n), n, monkeypatch, "training.reduce=allreduce") for n in (1, 2))
    assert alone != two
