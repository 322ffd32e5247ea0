"""How long k-means takes to be as good as HuBERT's recipe: seconds to a score, all from the same start.

Conventions:
    The recipe is scikit-learn's MiniBatchKMeans as fairseq sets it (but for its 20 starts), run until its own stop rule.
    The goal is the score it ends with; who has come within 0.1 % of it stops. No clock runs while a score is taken.
    A score is the mean squared distance of 20,000 of the rows to their nearest centroids.
"""

import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float32

from benchmarks.compare import CPU_S, WALL_S, Case, Step, Timing, compare
from benchmarks.kmeans_peers import MINIBATCH_ROWS, Problem, mean_distance, sklearn_model

MOST_PASSES = 100
PATIENCE = 100  # batches without a lower smoothed inertia. Source: fairseq's recipe for HuBERT
SLACK = 1.001
STEPS_A_LOOK = 10  # batches between two scores

Centroids = Float32[np.ndarray, "clusters dim"]
Rows = Float32[np.ndarray, "frames dim"]


class Uneven(Problem):
    """Rows that are harder to cluster: more and closer clusters than centroids, a few of them with most of the rows."""

    def rows(self) -> Rows:
        """The same rows in every process: 3,000 clusters of uneven weight in a 60-dimensional subspace, and noise."""
        draws = np.random.default_rng(0)
        centres = draws.normal(size=(3000, 60)).astype(np.float32)
        basis = draws.normal(size=(60, self.dim)).astype(np.float32) / np.float32(np.sqrt(60))
        weights = draws.dirichlet(np.ones(len(centres)))
        inner = centres[draws.choice(len(centres), self.num_rows, p=weights)]
        inner += np.float32(0.6) * draws.normal(size=inner.shape).astype(np.float32)
        return inner @ basis + np.float32(0.3) * draws.normal(size=(self.num_rows, self.dim)).astype(np.float32)


def to_score(problem: Problem, *, rounds: int) -> list[Timing]:
    """Everyone's way to the recipe's score. Items are the problem's rows, however often each is visited."""
    recipe = _case("MiniBatchKMeans, the whole recipe", problem, trainer="recipe", goal=np.inf)
    goal = SLACK * compare([recipe], rounds=1, is_warm=False)[0].scores["score"]
    cases = [
        _case("ours, Lloyd", problem, trainer="our_lloyd", goal=goal, is_ours=True),
        _case("ours, mini-batch", problem, trainer="our_minibatch", goal=goal, is_ours=True),
        _case("MiniBatchKMeans, stopped at the goal", problem, trainer="sklearn_minibatch", goal=goal),
    ]
    return compare([*cases, recipe], rounds=rounds, is_warm=False)


def until_goal(problem: Problem, trainer: str, goal: float) -> Step:
    """Train until the score is at most `goal`, or the trainer ends by itself."""
    rows = problem.rows()
    sample = rows[:: max(1, len(rows) // 20_000)]
    warnings.simplefilter("ignore")

    def step() -> dict[str, float]:
        cpu_s, wall_s, scores = 0.0, 0.0, {}
        states = TRAINERS[trainer](rows, problem.start(rows))
        while scores.get("score", np.inf) > goal or not scores:
            cpu, wall = time.process_time(), time.perf_counter()
            state = next(states, None)
            cpu_s, wall_s = cpu_s + time.process_time() - cpu, wall_s + time.perf_counter() - wall
            if state is None:
                break
            scores = {"score": mean_distance(sample, state[0]), "passes": state[1]}
        return {CPU_S: cpu_s, WALL_S: wall_s, **scores}

    return step


def our_lloyd(rows: Rows, start: Centroids) -> Iterator[tuple[Centroids, float]]:
    """`clustering.lloyd`, an update at a time; each is one pass."""
    from ray_musicssl.clustering.lloyd import next_centroids
    from ray_musicssl.clustering.sums import farthest, one_blas_thread, partial_sums

    centroids = start
    for passes in range(1, MOST_PASSES + 1):
        with one_blas_thread():
            sums = partial_sums(rows, centroids)
            num_empty = int((sums.counts == 0).sum())
            spare = farthest(rows, centroids, num_empty) if num_empty else None
            centroids = next_centroids(sums, centroids, spare)
        yield centroids, passes


def our_minibatch(rows: Rows, start: Centroids) -> Iterator[tuple[Centroids, float]]:
    """`clustering.minibatch`, a round at a time."""
    from ray_musicssl.clustering.minibatch import BatchPlan, MinibatchState
    from ray_musicssl.clustering.sums import one_blas_thread

    plan = BatchPlan(
        sizes=(len(rows),),
        dim=rows.shape[1],
        batch_frames=MINIBATCH_ROWS,
        num_passes=MOST_PASSES,
        max_no_improvement=PATIENCE,
        seed=0,
    )
    state = MinibatchState(centroids=start, counts=np.zeros(len(start), np.int64))
    while not plan.is_over(state):
        with one_blas_thread():
            state = plan.advance(state, rows[plan.rows_of(state.num_rounds)[0]])
        yield state.centroids, state.num_steps * MINIBATCH_ROWS / len(rows)


def sklearn_minibatch(rows: Rows, start: Centroids) -> Iterator[tuple[Centroids, float]]:
    """The recipe's steps, a few at a time."""
    model = _minibatch(start)
    draws = np.random.default_rng(0)
    for number in range(1, MOST_PASSES * len(rows) // MINIBATCH_ROWS + 1):
        model.partial_fit(rows[draws.integers(len(rows), size=MINIBATCH_ROWS)])
        if number % STEPS_A_LOOK == 0:
            yield model.cluster_centers_, number * MINIBATCH_ROWS / len(rows)


def recipe(rows: Rows, start: Centroids) -> Iterator[tuple[Centroids, float]]:
    """The recipe until its own stop rule."""
    model = _minibatch(start).fit(rows)
    yield model.cluster_centers_, model.n_steps_ * MINIBATCH_ROWS / len(rows)


TRAINERS = {trainer.__name__: trainer for trainer in (our_lloyd, our_minibatch, sklearn_minibatch, recipe)}


def _minibatch(start: Centroids) -> Any:
    return sklearn_model(
        "MiniBatchKMeans",
        len(start),
        init=start,
        n_init=1,
        max_iter=MOST_PASSES,
        batch_size=MINIBATCH_ROWS,
        tol=0.0,
        max_no_improvement=PATIENCE,
        reassignment_ratio=0.0,
        compute_labels=False,
        random_state=0,
    )


def _case(name: str, problem: Problem, *, trainer: str, goal: float, is_ours: bool = False) -> Case:
    arguments = {"problem": problem, "trainer": trainer, "goal": goal}
    return Case(name=name, prepare=until_goal, arguments=arguments, num_items=problem.num_rows, is_ours=is_ours)
