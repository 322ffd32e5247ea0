"""The interpreter and the packages against the pins of this package's own metadata."""

import platform
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from ray_musicssl.doctor.finding import Finding, judge

DISTRIBUTION = "ray-musicssl"
IMPORT_TIMEOUT_S = 8.0
CHECKOUT_PATH = Path(__file__).parents[2] / "pyproject.toml"


def _project() -> tuple[list[Requirement], SpecifierSet]:
    """What the package asks for and which Pythons it allows: as its checkout says, else as installed."""
    if CHECKOUT_PATH.exists():  # an editable installation's metadata may be older than the file
        project = tomllib.loads(CHECKOUT_PATH.read_text())["project"]
        python, lines = project["requires-python"], project["dependencies"]
    else:
        python = metadata.metadata(DISTRIBUTION)["Requires-Python"]
        lines = metadata.requires(DISTRIBUTION) or []
    return [Requirement(line) for line in lines], SpecifierSet(python)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def python_version() -> Finding:
    """The interpreter against the package's own range."""
    needed, found = _project()[1], platform.python_version()
    is_ok = needed.contains(found, prereleases=True)
    return judge("python", "ok" if is_ok else "fail", found, str(needed), "make the environment anew with python3.11")


def package_versions() -> list[Finding]:
    """Every package this one depends on against its pin; those in order share one line."""
    findings, in_order = [], []
    for requirement in _project()[0]:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found, needed = _version(requirement.name), str(requirement.specifier) or "any version"
        if found != "absent" and requirement.specifier.contains(found, prereleases=True):
            in_order.append(f"{requirement.name} {found}")
        else:
            remedy = f"python -m pip install '{requirement}'"
            findings.append(judge(f"package {requirement.name}", "fail", found, needed, remedy))
    shown = ", ".join(text for text in in_order if text.split()[0] in {"torch", "torchaudio", "ray"})
    found = f"{len(in_order)} in order ({shown})"
    return [*findings, judge("packages", "ok", found, "this package's pins")]


def torch_build() -> Finding:
    """A CPU-only torch has no torchaudio wheel that imports beside it."""
    torch, torchaudio = _version("torch"), _version("torchaudio")
    is_ok = "+cpu" not in torch or "+cpu" in torchaudio
    remedy = "python -m pip install --force-reinstall 'torch==2.11.*' 'torchaudio==2.11.*'"
    return judge(
        "torch build",
        "ok" if is_ok else "fail",
        f"torch {torch}, torchaudio {torchaudio}",
        "the same kind of build",
        remedy,
    )


def torch_pair() -> list[Finding]:
    """Whether torch and torchaudio import together, tried in a process of its own."""
    check, needed = "torch with torchaudio", "both import in one process"
    command = [sys.executable, "-c", "import torch, torchaudio; print(torch.__version__, torchaudio.__version__)"]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, check=False, timeout=IMPORT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        found = f"not yet after {IMPORT_TIMEOUT_S:.0f} s"
        return [judge(check, "warn", found, needed, "a first import is slow; run doctor again")]
    if tried.returncode == 0:
        return [judge(check, "ok", tried.stdout.strip(), needed)]
    found = (tried.stderr.strip().splitlines() or ["no message"])[-1][:200]
    remedy = "install torch==2.11.* and torchaudio==2.11.* from the same place, not a CPU-only torch"
    return [judge(check, "fail", found, needed, remedy)]


def sound_formats() -> Finding:
    """What the installed libsndfile can read."""
    needed, remedy = "WAV, FLAC, OGG, MP3, OPUS", "python -m pip install --upgrade soundfile"
    try:
        import soundfile  # noqa: PLC0415  (it may be what is broken)
    except (ImportError, OSError) as error:
        return judge("audio", "fail", str(error), needed, remedy)
    formats = {*soundfile.available_formats(), *soundfile.available_subtypes("OGG")}
    missing = [name for name in needed.split(", ") if name not in formats]
    found = f"libsndfile {soundfile.__libsndfile_version__}"
    found += f" without {', '.join(missing)}" if missing else " with all of them"
    return judge("audio", "warn" if missing else "ok", found, needed, remedy)
