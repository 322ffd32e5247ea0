"""What Ray needs of this machine, and the clusters that the environment names."""

import os
import shutil
import socket
import stat
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from ray_musicssl.doctor.finding import Finding, Status, existing, judge

CONNECT_TIMEOUT_S = 2.0
HEAD_PORTS = (6379, 8265)
# Source: Ray's local_fs_capacity_threshold; above it no new object is stored.
DISK_FULL = 0.95
# Source: sockaddr_un holds 108 bytes with the closing zero on Linux, 104 on macOS.
SOCKET_PATH_MOST = 103 if sys.platform == "darwin" else 107
LONGEST_SOCKET = "ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"


def ray_dir() -> Path:
    """Where Ray keeps its session."""
    default = tempfile.gettempdir() if sys.platform == "darwin" else os.environ.get("TMPDIR", "/tmp")  # noqa: S108
    return Path(os.environ.get("RAY_TMPDIR", default)).absolute()


def disk_for_ray() -> Finding:
    """Room where Ray keeps its session, by Ray's own rule."""
    usage = shutil.disk_usage(existing(ray_dir()))
    full = 1 - usage.free / usage.total
    needed = f"at most {DISK_FULL:.0%}: Ray stores nothing above it"
    remedy = "free some space, or set RAY_TMPDIR to a directory on another disk"
    return judge("disk for Ray", "fail" if full > DISK_FULL else "ok", f"{full:.1%} used", needed, remedy)


def ports() -> list[Finding]:
    """The ports a head started by hand would take; the stages themselves need none of them."""
    findings = []
    for port in HEAD_PORTS:
        with socket.socket() as candidate:
            is_free = candidate.connect_ex(("127.0.0.1", port)) != 0
        found, remedy = "free" if is_free else "in use", "cluster/local.sh takes another one by itself"
        findings.append(judge(f"port {port}", "ok" if is_free else "warn", found, "free, to start a head here", remedy))
    return findings


def socket_path() -> Finding:
    """Ray's socket names must fit the system's limit."""
    length = len(os.fsencode(ray_dir() / LONGEST_SOCKET))
    found, needed = f"{length} bytes below {ray_dir()}", f"at most {SOCKET_PATH_MOST} bytes"
    return judge(
        "socket names", "ok" if length <= SOCKET_PATH_MOST else "fail", found, needed, "export RAY_TMPDIR=/tmp"
    )


def cluster_address() -> list[Finding]:
    """Whether the clusters that the environment names can be reached."""
    findings = []
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        address = os.environ.get(name, "")
        if not address or address in {"auto", "local"}:
            continue
        status: Status
        try:
            parts = urlsplit(address if "://" in address else f"tcp://{address}")
            port = parts.port or {"http": 80, "https": 443, "ray": 10001}.get(parts.scheme, HEAD_PORTS[0])
            socket.create_connection((parts.hostname or "", port), timeout=CONNECT_TIMEOUT_S).close()
            status, found = "ok", f"{address} answers"
        except (OSError, ValueError) as error:
            status, found = "fail", f"{address}: {error}"
        remedy = f"start that cluster or open the tunnel to it, or: unset {name}"
        findings.append(judge(name, status, found, "reachable", remedy))
    return findings


def token_file() -> Finding:
    """Whether the cluster token exists where it should and is its owner's alone."""
    if os.environ.get("RAY_AUTH_MODE") == "disabled":
        remedy = "unset RAY_AUTH_MODE: without a token anyone who reaches the ports can run code"
        return judge("token", "warn", "RAY_AUTH_MODE=disabled", "a token", remedy)
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    if named and not path.exists():
        remedy = "name the file with the cluster's token, or unset RAY_AUTH_TOKEN_PATH"
        return judge("token", "fail", f"{path} is not there", "mode 0600", remedy)
    if not path.exists():
        return judge("token", "ok", "none yet; made when needed", "mode 0600")
    mode = stat.S_IMODE(path.stat().st_mode)
    status = "warn" if mode & (stat.S_IRWXG | stat.S_IRWXO) else "ok"
    return judge("token", status, f"{path} has mode {mode:04o}", "mode 0600", f"chmod 600 {path}")
