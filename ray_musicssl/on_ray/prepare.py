"""Prepare: any pile of audio files to shards, one Ray task a part.

Conventions:
    The parts are planned before anything is decoded, so they are the same for any number of workers.
    Files on disk, in this order: the plan, each part and its sidecar, manifest, ledger, done-marker. A killed run
    goes on from the parts that have their sidecar. Every worker must see the output directory under the same path.
"""

import itertools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, WorkerCrashedError

from ray_musicssl import run_dir
from ray_musicssl.audio import ledger
from ray_musicssl.audio.decode import Decode, decode_file
from ray_musicssl.audio.frames import samples_to_seconds
from ray_musicssl.audio.parts import (
    PLAN_NAME,
    PartPlan,
    PreparePlan,
    estimate_bytes,
    plan_parts,
    recorded_parts,
    write_plan,
)
from ray_musicssl.audio.shard import Clip, Shards, open_shards, part_name
from ray_musicssl.audio.sources import AudioFile, list_files
from ray_musicssl.audio.writer import is_written, read_record, sidecar_path, write_manifest, write_part
from ray_musicssl.config.prepare import PrepareConfig
from ray_musicssl.errors import DataError, EnvironmentFaultError
from ray_musicssl.on_ray.session import run_tasks, session
from ray_musicssl.progress import Meter, progress

logger = logging.getLogger(__name__)

STAGE = "prepare"
CRASHED = "decoder crashed"
_RESULTS = (f"done-{STAGE}.json", "manifest.parquet", "ledger.parquet")
_CHANCE_LOSSES = 3  # lost workers without a guilty file before the machine is blamed
_LOST = (WorkerCrashedError, OutOfMemoryError)


def prepare(
    audio: str,
    out: Path,
    config: PrepareConfig = PrepareConfig(),  # noqa: B008  (frozen)
    *,
    max_bad_fraction: float = 0.05,
    fresh: bool = False,
    decode: Decode = decode_file,
) -> Shards:
    """Decode audio files into shards at `out`; what an earlier run has done is kept.

    Args:
        audio: a folder, a file, a glob, a CSV or JSONL manifest, or a URI of one of them.
        out: the directory of the shards, seen by every worker.
        config: lengths and sizes.
        max_bad_fraction: the largest share of rejected files that is a success.
        fresh: remove what this stage wrote to `out` before, and start again.
        decode: what decodes one file.

    Raises:
        DataError: if there is no audio, no clip came of it, or too many files were rejected. In the last case all
            is written, and a run with a higher limit succeeds at once.
        ResumeRefusedError: if `out` was begun with other files or settings.
        EnvironmentFaultError: if the disk cannot hold the result, or `out` is in use.
    """
    plan = plan_parts(list_files(audio), config)
    out = out.resolve()  # workers have working directories of their own
    with run_dir.locked(out):
        if fresh:
            _remove_results(out)
        write_plan(out, plan)
        facts = run_dir.done_with(out, STAGE, fingerprint=plan.fingerprint, remedy="use --fresh or another --out")
        todo = [part for part in plan.parts if not is_written(part, out)]
        if facts is None or todo:
            run_dir.remove_temporaries(out)
            _write_parts(plan, todo, _Job(config=config, out_dir=out, decode=decode))
            facts = _finish(plan, config, out)
    _check_bad_fraction(facts, out, max_bad_fraction=max_bad_fraction)
    return open_shards(out)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What every task of a run needs beside its files."""

    config: PrepareConfig
    out_dir: Path
    decode: Decode

    def write(self, part: PartPlan) -> int:
        """Write a part; gives the number of its files."""
        write_part(part, self.config, self.out_dir, self.decode)
        return len(part.files)


def _discard(clip: Clip) -> None:
    """Keep nothing."""


def _write_parts(plan: PreparePlan, todo: Sequence[PartPlan], job: _Job) -> None:
    """Write the parts that are missing, whatever files crash their decoder."""
    run_dir.need_free_space(job.out_dir, sum(estimate_bytes(file) for part in todo for file in part.files))
    waiting = {part.number: part for part in todo}
    chance_losses = 0
    with session(), progress(STAGE, plan.num_files, "files") as meter:
        meter.start_from(plan.num_files - sum(len(part.files) for part in todo))
        while waiting:
            try:
                _write_in_parallel(waiting, job, meter)
            except _LOST:
                chance_losses += 0 if _clear_crash(waiting, job, meter) else 1
                if chance_losses >= _CHANCE_LOSSES:
                    raise EnvironmentFaultError(
                        f"workers died {chance_losses} times while no single file makes its decoder die; "
                        f"the machine is short of memory or failing: use fewer CPUs, then run the same command again"
                    ) from None


def _write_in_parallel(waiting: dict[int, PartPlan], job: _Job, meter: Meter) -> None:
    """Write all waiting parts, taking each off the table as it is done."""

    def write(part: PartPlan) -> int:
        return job.write(part)

    parts = list(waiting.values())
    for index, num_files in run_tasks(write, parts):
        del waiting[parts[index].number]
        meter.advance(num_files)


def _clear_crash(waiting: dict[int, PartPlan], job: _Job, meter: Meter) -> bool:
    """After a worker died: find a part that kills its worker, and write it without the guilty files.

    Tasks begin in order, so the part is among the first that wait: they run one by one until it shows. Gives whether
    a guilty file was found.
    """
    for part in list(itertools.islice(waiting.values(), _in_flight())):
        alone = {part.number: part}
        try:
            _write_in_parallel(alone, job, meter)
        except _LOST:
            suspects = [file for file in part.files if not file.problem]
            guilty = {file for file in suspects if len(suspects) == 1 or not _survives(file, job)}
            for file in guilty:
                logger.warning("the decoder crashes on %s; the file is left out", file.shown_path)
            files = tuple(replace(file, problem=CRASHED) if file in guilty else file for file in part.files)
            waiting[part.number] = replace(part, files=files)
            return bool(guilty)
        del waiting[part.number]
    return False


def _survives(file: AudioFile, job: _Job) -> bool:
    """Whether a worker lives through decoding a file."""

    def attempt(file: AudioFile) -> None:
        job.decode(file, job.config, _discard)

    try:
        list(run_tasks(attempt, [file]))
    except _LOST:
        return False
    return True


def _in_flight() -> int:
    """At least the number of parts that were under way at once."""
    return 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))


def _finish(plan: PreparePlan, config: PrepareConfig, out: Path) -> dict[str, Any]:
    """Write manifest, ledger and done-marker from the parts' sidecars; gives the marker's facts."""
    records = [read_record(out, part.number) for part in plan.parts]
    rows = ledger.with_duplicates_noted([row for record in records for row in record.ledger])
    ledger_path = out / "ledger.parquet"
    ledger.write_ledger(ledger_path, rows)
    num_clips = sum(len(record.clips) for record in records)
    reasons = ledger.common_reasons(rows)
    if num_clips == 0:
        raise DataError(f"no clip came of {len(rows)} files ({_counted(reasons)}); {ledger_path} tells of each")
    write_manifest(out / "manifest.parquet", records, clips_per_row_group=config.clips_per_row_group)
    facts = {
        "content_hash": run_dir.hash_of([record.sha256 for record in records]),
        "num_clips": num_clips,
        "seconds": samples_to_seconds(sum(clip.num_samples for record in records for clip in record.clips)),
        "num_files": len(rows),
        "num_parts": len(records),
        "counts": ledger.count_statuses(rows),
        "common_reasons": reasons,
        "config": config.model_dump(mode="json"),
    }
    run_dir.remove_temporaries(out)
    # Written last: if it exists, every part, the manifest and the ledger are complete.
    run_dir.mark_done(out, STAGE, fingerprint=plan.fingerprint, facts=facts)
    return facts


def _check_bad_fraction(facts: dict[str, Any], out: Path, *, max_bad_fraction: float) -> None:
    num_bad, num_files = facts["counts"]["rejected"], facts["num_files"]
    if num_bad / num_files > max_bad_fraction:
        raise DataError(
            f"{num_bad} of {num_files} files are rejected ({_counted(facts['common_reasons'])}), more than the "
            f"{max_bad_fraction:g} allowed; {out / 'ledger.parquet'} tells of each. The shards are written: "
            f"accept them with --max-bad-fraction {math.ceil(num_bad / num_files * 1e4) / 1e4:.4f} or more"
        )


def _counted(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items(), key=lambda item: -item[1]))


def _remove_results(out: Path) -> None:
    """Remove what an earlier run of this stage wrote, and nothing else; the plan, which lists it, last."""
    for name in _RESULTS:
        (out / name).unlink(missing_ok=True)
    for part in range(recorded_parts(out)):
        sidecar_path(out, part).unlink(missing_ok=True)
        (out / part_name(part)).unlink(missing_ok=True)
    (out / PLAN_NAME).unlink(missing_ok=True)
