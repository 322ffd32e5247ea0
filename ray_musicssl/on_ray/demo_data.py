"""Makes the demo corpus as Ray tasks: music with known truth, and data sets in miniature.

Conventions:
    `OUT/pool` is a folder of audio for pre-training; `OUT/datasets` holds the data sets, for `--data`.
    A file that is there is whole and is kept, so a killed run goes on where it was.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ray_musicssl.demo.compose import GENERATOR_VERSION
from ray_musicssl.demo.corpus import SETS, DemoPlan, make_file, plan
from ray_musicssl.demo.file_job import FileJob
from ray_musicssl.demo.layouts import write_annotations
from ray_musicssl.errors import ResumeRefusedError
from ray_musicssl.on_ray.session import run_tasks, session
from ray_musicssl.progress import progress
from ray_musicssl.run_dir import done_with, locked, mark_done, need_free_space, read_json, write_json

STAGE = "demo-data"
_TASK_SECONDS = 100.0  # audio in one task: half a second of work, and enough to profit from tones already rendered
_REMEDY = "choose another directory, or remove this one"


@dataclass(frozen=True)
class _Chunk:
    out: Path
    jobs: tuple[FileJob, ...]


def make_demo_data(out: Path, *, preset: str = "demo", seed: int = 0, sets: Collection[str] = SETS) -> Path:
    """Make a demo corpus, or what is missing of one.

    Args:
        out: the corpus's directory; it receives `pool/` and `datasets/`.
        preset: how much: a name of `ray_musicssl.demo.presets.PRESETS`.
        seed: another seed gives another corpus of the same kind.
        sets: which of the pool and the data sets to make: names of `ray_musicssl.demo.corpus.SETS`.

    Returns:
        `out`, absolute.

    Raises:
        ConfigError: if the preset or a set is unknown.
        ResumeRefusedError: if `out` holds a corpus of other settings, finished or not.
        EnvironmentFaultError: if the disk is too small, or another process writes there.
    """
    corpus = plan(preset, seed, sets)
    out = out.resolve()
    with locked(out):
        done = done_with(out, STAGE, fingerprint=corpus.fingerprint, remedy=_REMEDY)
        missing = [job for job in corpus.jobs if not (out / job.path).exists()]
        if done and not missing:
            return out
        _claim(out, corpus)
        need_free_space(out, sum(job.size_bytes for job in missing))
        _make_files(out, corpus, missing)
        write_annotations(corpus, out)
        facts = {
            "preset": preset,
            "seed": seed,
            "sets": list(corpus.sets),
            "generator_version": GENERATOR_VERSION,
            "num_files": len(corpus.jobs),
            "seconds": corpus.seconds,
        }
        mark_done(out, STAGE, fingerprint=corpus.fingerprint, facts=facts)
    return out


def _claim(out: Path, corpus: DemoPlan) -> None:
    """Write down what is being made before the first file is: an unfinished corpus is never mixed with another."""
    path = out / f"{STAGE}.json"
    claim = {"fingerprint": corpus.fingerprint, "preset": corpus.preset, "seed": corpus.seed, "sets": corpus.sets}
    if path.exists() and (old := read_json(path))["fingerprint"] != corpus.fingerprint:
        raise ResumeRefusedError(
            f"{out} holds an unfinished demo corpus (preset {old['preset']}, seed {old['seed']}, sets {old['sets']}) "
            f"and you ask for preset {corpus.preset}, seed {corpus.seed}, sets {list(corpus.sets)}; {_REMEDY}"
        )
    write_json(path, claim)


def _make_files(out: Path, corpus: DemoPlan, missing: Sequence[FileJob]) -> None:
    with session(), progress(STAGE, len(corpus.jobs), "files") as meter:
        meter.start_from(len(corpus.jobs) - len(missing))
        for _, count in run_tasks(_make_chunk, list(_chunks(out, missing))):
            meter.advance(count)


def _chunks(out: Path, jobs: Sequence[FileJob]) -> Iterator[_Chunk]:
    """Consecutive jobs, some seconds of audio at a time."""
    batch: list[FileJob] = []
    for job in jobs:
        batch.append(job)
        if sum(job.duration_s for job in batch) >= _TASK_SECONDS:
            yield _Chunk(out, tuple(batch))
            batch = []
    if batch:
        yield _Chunk(out, tuple(batch))


def _make_chunk(chunk: _Chunk) -> int:
    for job in chunk.jobs:
        make_file(job, chunk.out)
    return len(chunk.jobs)
