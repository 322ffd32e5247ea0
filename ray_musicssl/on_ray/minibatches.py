"""Mini-batch k-means on the blocks of a fit: rounds are gathered by many tasks, ahead of the one that makes the steps."""

from collections.abc import Callable
from typing import Any

import numpy as np
import ray

from ray_musicssl.clustering.minibatch import BatchPlan, MinibatchState
from ray_musicssl.clustering.sums import one_blas_thread
from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.on_ray.blocks import Blocks
from ray_musicssl.on_ray.session import result_of
from ray_musicssl.progress import progress

ROUNDS_AHEAD = 2  # gathered while one is worked on; each takes up to 64 MB of the object store


def fit_minibatches(
    blocks: Blocks, settings: ClusteringConfig, state: MinibatchState, keep: Callable[[MinibatchState], None]
) -> MinibatchState:
    """Make rounds until the stop rule or the last pass ends it.

    Args:
        blocks: the frames.
        settings: the mini-batch settings count.
        state: where to begin; a saved one goes on exactly where it was.
        keep: called with each new state.
    """
    plan = BatchPlan(
        sizes=blocks.sizes,
        dim=blocks.dim,
        batch_frames=min(settings.batch_frames, blocks.num_frames),
        num_passes=settings.num_iterations,
        max_no_improvement=settings.max_no_improvement,
        seed=settings.seed,
    )
    shared = ray.put(plan)
    gathered: dict[int, list[ray.ObjectRef]] = {}
    with progress("kmeans", plan.num_rounds, "rounds") as meter:
        meter.start_from(state.num_rounds)
        while not plan.is_over(state):
            now = state.num_rounds
            for number in range(now, min(now + 1 + ROUNDS_AHEAD, plan.num_rounds)):
                if number not in gathered:
                    gathered[number] = blocks.start_rows(plan.rows_of(number))
            state = result_of(blocks.start(_advanced, shared, state, blocks.device, *gathered.pop(now)))
            keep(state)
            meter.set_done(state.num_rounds, f"inertia a frame {state.history[-1]:.4g}")
    return state


def _advanced(plan: BatchPlan, state: MinibatchState, device: str, *pool: Any) -> MinibatchState:
    with one_blas_thread():
        return plan.advance(state, np.concatenate(pool), device=device)
