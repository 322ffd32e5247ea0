"""What one look at the machine says."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at."""

    check: str
    status: Status
    found: str
    needed: str
    remedy: str = ""  # empty when there is nothing to do

    def as_dict(self) -> dict[str, str]:
        """The finding as a JSON-able object."""
        return asdict(self)


def judge(check: str, status: Status, found: str, needed: str, remedy: str = "") -> Finding:
    """A finding that tells its remedy only if there is something to remedy."""
    return Finding(check=check, status=status, found=found, needed=needed, remedy="" if status == "ok" else remedy)


def at_least(value: float, *, least: float, good: float) -> Status:
    """Fail below `least`, warn below `good`."""
    if value < least:
        return "fail"
    return "warn" if value < good else "ok"


def existing(path: Path) -> Path:
    """The path itself, or the nearest directory above it that exists."""
    path = path.absolute()
    return next(parent for parent in (path, *path.parents) if parent.exists())
