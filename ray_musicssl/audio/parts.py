"""Which files go into which part: decided before anything is decoded, from names and sizes alone.

Conventions:
    A part is a run of whole files in the listing's order. The same listing and settings give the same parts, whatever
    decodes them, and each part's bytes depend on its own files and the settings alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray_musicssl.audio.shard import SCHEMA_VERSION
from ray_musicssl.audio.sources import AudioFile
from ray_musicssl.config.prepare import PrepareConfig
from ray_musicssl.errors import ResumeRefusedError
from ray_musicssl.run_dir import hash_of, read_json, write_json

FEWEST_PARTS = 16  # where there are that many files: some for every worker of a small cluster
_LEAST_BYTES = 16_384  # a file's share of its part's work, however small it is
# Decoded bytes a stored byte gives, for the usual file: 44.1 kHz stereo in 16 bits, lossy formats at 128 to 160 kbit/s.
_GROWTH = {
    "wav": 0.18,
    "aif": 0.18,
    "aiff": 0.18,
    "au": 0.18,
    "flac": 0.3,
    "mp3": 1.8,
    "ogg": 2.0,
    "oga": 2.0,
    "opus": 2.7,
}
_SHOWN_CHANGES = 3
PLAN_NAME = "plan-prepare.json"


@dataclass(frozen=True, kw_only=True)
class PartPlan:
    """One part before it is written."""

    number: int
    files: tuple[AudioFile, ...]
    fingerprint: str  # of all that its bytes depend on


@dataclass(frozen=True, kw_only=True)
class PreparePlan:
    """Everything `prepare` has to do."""

    parts: tuple[PartPlan, ...]
    num_files: int
    values: dict[str, Any]  # the JSON form: settings and listing

    @property
    def fingerprint(self) -> str:
        """Hash of the settings and the listing."""
        return hash_of(self.values)


def estimate_bytes(file: AudioFile) -> int:
    """About how many bytes of 16 kHz int16 samples a file gives, from its size and extension."""
    if file.problem:
        return _LEAST_BYTES  # it is not decoded
    extension = file.path.rpartition(".")[2].lower()
    return max(_LEAST_BYTES, int(file.size_bytes * _GROWTH.get(extension, 1.0)))


def plan_parts(files: Sequence[AudioFile], config: PrepareConfig) -> PreparePlan:
    """Group files into parts of about `config.part_mb`, or less so that there are `FEWEST_PARTS` where files allow."""
    settings = config.model_dump(mode="json")
    total_bytes = sum(map(estimate_bytes, files))
    most_bytes = min(config.part_mb * 1e6, total_bytes / FEWEST_PARTS)
    parts = tuple(
        PartPlan(
            number=number,
            files=tuple(group),
            fingerprint=hash_of([SCHEMA_VERSION, settings, [_identity(file) for file in group]]),
        )
        for number, group in enumerate(_groups(files, most_bytes))
    )
    values = {"schema_version": SCHEMA_VERSION, "config": settings, "files": [_identity(file) for file in files]}
    return PreparePlan(parts=parts, num_files=len(files), values=values)


def _groups(files: Sequence[AudioFile], most_bytes: float) -> Iterator[list[AudioFile]]:
    """Runs of files whose estimates stay within `most_bytes`; a larger file is a run of its own."""
    group: list[AudioFile] = []
    group_bytes = 0
    for file in files:
        size = estimate_bytes(file)
        if group and group_bytes + size > most_bytes:
            yield group
            group, group_bytes = [], 0
        group.append(file)
        group_bytes += size
    if group:
        yield group


def _identity(file: AudioFile) -> list[str | int]:
    """What tells a file from a changed one; where it lies and how it is reached do not."""
    return [file.path, file.size_bytes, file.mtime_ns, file.problem]


def write_plan(out_dir: Path, plan: PreparePlan) -> None:
    """Record the plan, or check that the one recorded earlier is the same.

    Raises:
        ResumeRefusedError: if `out_dir` was begun with other files or settings; the message names some of them.
    """
    path = out_dir / PLAN_NAME
    if not path.exists():
        write_json(path, {**plan.values, "num_parts": len(plan.parts)})
        return
    begun = read_json(path)
    begun.pop("num_parts")
    if begun != plan.values:
        raise ResumeRefusedError(
            f"{out_dir} was begun with other input or settings: {'; '.join(_changes(begun, plan.values))}; "
            f"start again there with --fresh or choose another --out"
        )


def recorded_parts(out_dir: Path) -> int:
    """How many parts the plan in `out_dir` has; 0 if there is no plan."""
    path = out_dir / PLAN_NAME
    return read_json(path)["num_parts"] if path.exists() else 0


def _changes(begun: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """What differs between two plans, in words."""
    if begun["schema_version"] != now["schema_version"]:
        yield f"shard schema {begun['schema_version']} -> {now['schema_version']}"
    for name in sorted({*begun["config"], *now["config"]}):
        old, new = begun["config"].get(name), now["config"].get(name)
        if old != new:
            yield f"{name} {old} -> {new}"
    before = {path: identity for path, *identity in begun["files"]}
    after = {path: identity for path, *identity in now["files"]}
    kinds = {
        "added": after.keys() - before.keys(),
        "gone": before.keys() - after.keys(),
        "changed": {path for path in before.keys() & after.keys() if before[path] != after[path]},
    }
    for kind, paths in kinds.items():
        if paths:
            shown = ", ".join(AudioFile(path=path, location="").shown_path for path in sorted(paths)[:_SHOWN_CHANGES])
            more = f" and {len(paths) - _SHOWN_CHANGES} more" if len(paths) > _SHOWN_CHANGES else ""
            yield f"{kind}: {shown}{more}"
