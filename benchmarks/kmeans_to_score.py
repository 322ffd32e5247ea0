"""How long k-means takes to be as good as HuBERT's recipe: seconds to a score, all from the same start.

Conventions:
    The recipe is scikit-learn's MiniBatchKMeans as fairseq sets it (but for its 20 starts), run until its own stop rule.
    The goal is the score it ends with; who has come within 0.1 % of it stops. No clock runs while a score is taken.
    A score is the mean squared distance of 20,000 of the rows to their nearest centroids.
"""

import time
import warnings
from collections.abc import Callable
from contextlib import suppress
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


class _ReachedError(Exception):
    """The goal is reached."""


class _Watch:
    """Clocks a trainer and looks at what it has; the clock stands still meanwhile."""

    def __init__(self, sample: Rows, goal: float) -> None:
        self._sample, self._goal = sample, goal
        self.scores = {CPU_S: 0.0, WALL_S: 0.0}
        self._begun = time.process_time(), time.perf_counter()

    def look(self, centroids: Centroids, passes: float) -> None:
        """Take the score of centroids after so many passes over the rows.

        Raises:
            _ReachedError: if it is at most the goal.
        """
        for name, begun, now in zip(
            (CPU_S, WALL_S), self._begun, (time.process_time(), time.perf_counter()), strict=True
        ):
            self.scores[name] += now - begun
        self.scores |= {"score": mean_distance(self._sample, centroids), "passes": passes}
        if self.scores["score"] <= self._goal:
            raise _ReachedError
        self._begun = time.process_time(), time.perf_counter()


Look = Callable[[Centroids, float], None]


def until_goal(problem: Problem, trainer: str, goal: float) -> Step:
    """Train until the score is at most `goal`, or the trainer ends by itself."""
    rows = problem.rows()
    sample = rows[:: max(1, len(rows) // 20_000)]
    warnings.simplefilter("ignore")

    def step() -> dict[str, float]:
        start = problem.start(rows)
        watch = _Watch(sample, goal)
        with suppress(_ReachedError):
            TRAINERS[trainer](rows, start, watch.look)
        return watch.scores

    return step


def our_lloyd(rows: Rows, start: Centroids, look: Look) -> None:
    """`clustering.lloyd`; each update is one pass."""
    from ray_musicssl.clustering.lloyd import ArrayPasses, LloydState, iterate
    from ray_musicssl.clustering.sums import one_blas_thread

    with one_blas_thread():
        iterate(
            ArrayPasses(rows),
            LloydState(centroids=start),
            num_iterations=MOST_PASSES,
            tolerance=0.0,
            on_update=lambda state: look(state.centroids, state.num_updates),
        )


def our_minibatch(rows: Rows, start: Centroids, look: Look) -> None:
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
        look(state.centroids, state.num_steps * MINIBATCH_ROWS / len(rows))


def sklearn_minibatch(rows: Rows, start: Centroids, look: Look) -> None:
    """The recipe's steps, a few at a time."""
    model = _minibatch(start)
    draws = np.random.default_rng(0)
    for number in range(1, MOST_PASSES * len(rows) // MINIBATCH_ROWS + 1):
        model.partial_fit(rows[draws.integers(len(rows), size=MINIBATCH_ROWS)])
        if number % STEPS_A_LOOK == 0:
            look(model.cluster_centers_, number * MINIBATCH_ROWS / len(rows))


def recipe(rows: Rows, start: Centroids, look: Look) -> None:
    """The recipe until its own stop rule."""
    model = _minibatch(start).fit(rows)
    look(model.cluster_centers_, model.n_steps_ * MINIBATCH_ROWS / len(rows))


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
