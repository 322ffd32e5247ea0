"""K-means beside its peers: training and labelling, from the same rows and the same start, each on one thread.

    python -m benchmarks.kmeans                      # every table; Markdown on stdout
    python -m benchmarks.kmeans --only 39-d --rounds 3 --json kmeans.json
    python -m benchmarks.kmeans --ray                # passes over Ray by one and by two workers

Conventions:
    Rows are drawn from clusters in a space of lower dimension, as features of audio are, and start from some of them.
    Items are row visits, those of the last pass that judges a fit included; of the way to a score (`kmeans_to_score.py`, which
    has rows of its own) they are the rows, however often each is visited.
"""

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import kmeans_peers as peers
from benchmarks.compare import Case, Step, as_json, compare, markdown, write_results
from benchmarks.kmeans_peers import Problem
from benchmarks.kmeans_to_score import Uneven, to_score

NUM_ITERATIONS = {39: 5, 768: 2}
# What faiss brings along does not know new processors and would run on code of 2004.
FAISS_ENVIRONMENT = {"OPENBLAS_CORETYPE": "SkylakeX"}

TRAINING = (
    Problem(num_rows=100_000, dim=39, num_clusters=500),
    Problem(num_rows=100_000, dim=39, num_clusters=2000),
    Problem(num_rows=40_000, dim=768, num_clusters=2000),
)
TO_SCORE = Uneven(num_rows=100_000, dim=768, num_clusters=2000)
LABELLING = (Problem(num_rows=30_000, dim=768, num_clusters=500),)


def training_cases(problem: Problem) -> list[Case]:
    """Fits of a problem by everyone who is installed."""
    updates = NUM_ITERATIONS[problem.dim]
    arguments = {"problem": problem, "num_iterations": updates}
    visits = problem.num_rows * (updates + 1)
    cases = [
        Case(name="ours", prepare=peers.fit_ours, arguments=arguments, num_items=visits, is_ours=True),
        Case(name="sklearn KMeans lloyd", prepare=peers.fit_lloyd, arguments=arguments, num_items=visits),
        Case(name="sklearn MiniBatchKMeans", prepare=peers.fit_minibatch, arguments=arguments, num_items=visits),
    ]
    if _has("faiss"):
        cases.append(
            Case(
                name="faiss Kmeans",
                prepare=peers.fit_faiss,
                arguments=arguments,
                num_items=problem.num_rows * updates,
                environment=FAISS_ENVIRONMENT,
            )
        )
    return cases


def labelling_cases(problem: Problem) -> list[Case]:
    """Labels of a problem's rows by everyone who is installed."""
    labellers: dict[str, Callable[..., Step]] = {
        "ours": peers.label_ours,
        "sklearn predict": peers.label_sklearn,
        "fairseq's label loop": peers.label_fairseq,
        "torch product and argmin": peers.label_torch,
    }
    if _has("faiss"):
        labellers["faiss IndexFlatL2"] = peers.label_faiss
    return [
        Case(
            name=name,
            prepare=prepare,
            arguments={"problem": problem},
            num_items=problem.num_rows,
            environment=FAISS_ENVIRONMENT if "faiss" in name else {},
            is_ours=name == "ours",
        )
        for name, prepare in labellers.items()
    ]


def _has(module: str) -> bool:
    if importlib.util.find_spec(module) is not None:
        return True
    print(f"{module} is not installed and is left out; `pip install '.[bench]'` brings it\n")
    return False


def main(words: Sequence[str] | None = None) -> None:
    """Run the tables and print them."""
    parser = argparse.ArgumentParser(description="k-means beside its peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="tables whose title holds this, such as 39-d or labelling")
    parser.add_argument("--json", type=Path, help="also write every round's figures here")
    parser.add_argument("--ray", action="store_true", help="passes over Ray by one and two workers instead")
    asked = parser.parse_args(words)
    if asked.ray:
        from benchmarks.kmeans_over_ray import table

        print(table(rounds=asked.rounds))
        return
    tables = [(f"training {problem.title}", training_cases, problem) for problem in TRAINING]
    tables += [(f"labelling {problem.title}", labelling_cases, problem) for problem in LABELLING]
    results = []
    for title, cases_of, problem in tables:
        if asked.only in title:
            timings = compare(cases_of(problem), rounds=asked.rounds)
            print(markdown(timings, title=title, item="rows"), flush=True)
            results.append(as_json(timings, title=title))
    if asked.only in (title := f"time to the recipe's score {TO_SCORE.title}"):
        timings = to_score(TO_SCORE, rounds=asked.rounds)
        print(markdown(timings, title=title, item="rows"), flush=True)
        results.append(as_json(timings, title=title))
    if asked.json:
        write_results(asked.json, results)


if __name__ == "__main__":
    main()
