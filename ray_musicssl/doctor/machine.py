"""Disk, memory, cores and the like."""

import os
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil

from ray_musicssl.doctor.finding import Finding, at_least, existing, judge

GPU_TIMEOUT_S = 5.0
# Source: the demo's own needs (under 4 GiB in memory, well under 2 GB on disk).
MEMORY_LEAST_GB, MEMORY_GOOD_GB = 2.0, 5.0
DISK_LEAST_GB, DISK_GOOD_GB = 2.0, 20.0
SHM_GOOD_GB = 1.0  # below, Ray puts its object store into files, which is slow
FILES_GOOD = 4096
CORES_GOOD = 2


def disk(directory: Path) -> Finding:
    """Room where the run is written."""
    room = existing(directory)
    free_gb = shutil.disk_usage(room).free / 1e9
    status = at_least(free_gb, least=DISK_LEAST_GB, good=DISK_GOOD_GB)
    needed = f"{DISK_GOOD_GB:.0f} GB ({DISK_LEAST_GB:.0f} for the demo)"
    remedy = "free some space or choose another directory"
    return judge("disk", status, f"{free_gb:.1f} GB free at {room}", needed, remedy)


def shared_memory() -> Finding:
    """Where Ray's object store lives on Linux."""
    shm, needed = Path("/dev/shm"), f"{SHM_GOOD_GB:.0f} GB free"  # noqa: S108  (looked at, not written)
    if not shm.exists():
        return judge("shared memory", "ok", "none here; Ray uses files", needed)
    free_gb = shutil.disk_usage(shm).free / 1e9
    status = at_least(free_gb, least=0, good=SHM_GOOD_GB)
    return judge("shared memory", status, f"{free_gb:.2f} GB free", needed, "in a container: docker run --shm-size=4g")


def _container_room_bytes() -> float:
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if not (limit.exists() and used.exists()) or limit.read_text().strip() == "max":
        return float("inf")
    return float(limit.read_text()) - float(used.read_text())


def memory() -> Finding:
    """Memory that is free now, within the container's limit."""
    free_gb = min(psutil.virtual_memory().available, _container_room_bytes()) / 1e9
    status = at_least(free_gb, least=MEMORY_LEAST_GB, good=MEMORY_GOOD_GB)
    needed = f"{MEMORY_GOOD_GB:.0f} GB ({MEMORY_LEAST_GB:.0f} at the least)"
    remedy = "close other programs, or use a smaller preset with fewer workers"
    return judge("memory", status, f"{free_gb:.1f} GB free", needed, remedy)


def cores() -> Finding:
    """Cores this process may use."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    remedy = "it works, at half the speed; give the container two CPUs"
    return judge("cores", at_least(found, least=0, good=CORES_GOOD), str(found), str(CORES_GOOD), remedy)


def open_files() -> Finding:
    """Ray raises its own limit up to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reachable, told = (FILES_GOOD, "unlimited") if hard == resource.RLIM_INFINITY else (hard, str(hard))
    status = at_least(reachable, least=0, good=FILES_GOOD)
    remedy = f"ulimit -Hn {FILES_GOOD}, or LimitNOFILE= of the service"
    return judge("open files", status, f"{soft}, hard {told}", f"a hard limit of {FILES_GOOD}", remedy)


def writable(directory: Path) -> Finding:
    """Whether a file can be made where the run goes."""
    try:
        tempfile.TemporaryFile(dir=existing(directory)).close()
    except OSError as error:
        return judge("directory", "fail", str(error), "writable", "choose another directory, or change its owner")
    return judge("directory", "ok", f"{existing(directory)} can be written", "writable")


def gpu() -> list[Finding]:
    """What nvidia-smi sees; only information, since everything runs without one."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GPU_TIMEOUT_S)
        found = "; ".join(tried.stdout.strip().splitlines()) if tried.returncode == 0 else "nvidia-smi sees none"
    except (OSError, subprocess.TimeoutExpired):
        found = "no nvidia-smi that answers: the CPU is used"
    return [judge("gpu", "ok", found, "none; one makes pre-training fast")]
