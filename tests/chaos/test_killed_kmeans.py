"""The command `kmeans` is killed while it extracts, seeds and iterates, and typed again each time."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from safetensors import safe_open

from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.config.feature import MfccConfig
from ray_musicssl.config.pretrain import KmeansConfig
from ray_musicssl.on_ray.kmeans import STATE_NAME, fit_codebook

DEADLINE_S = 240.0
WORDS = {"num_clusters": 150, "num_iterations": 60, "tolerance": 0, "seeding": "kmeans||"}


def start(shards_dir: Path, out: Path, log_path: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "ray_musicssl.cli", "kmeans", "--shards", str(shards_dir), "--out", str(out)]
    command += [f"clustering.{name}={value}" for name, value in WORDS.items()]
    variables = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with log_path.open("a") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=variables)


def phase_of(out: Path) -> str:
    """Where a fit is: what its state says, or whether it extracts."""
    path = out / STATE_NAME
    if path.exists():
        with safe_open(path, framework="numpy") as file:
            header = file.metadata()
        return header["phase"] if header["phase"] == "seeding" or header["facts"] != '{"history": []}' else "seeded"
    return "extracting" if any(out.glob("frames/block-*.f32")) else "starting"


def kill_in(phase: str, command: subprocess.Popen, out: Path, log_path: Path) -> None:
    """Kill the command once it is in a phase, and with it all it started."""
    deadline = time.monotonic() + DEADLINE_S
    while phase_of(out) != phase:
        if command.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"never seen {phase}: {log_path.read_text()}")
        time.sleep(0.002)
    processes = [*psutil.Process(command.pid).children(recursive=True)]
    command.send_signal(signal.SIGKILL)
    command.wait()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)


@pytest.mark.ray
@pytest.mark.chaos
@pytest.mark.usefixtures("cluster")
def test_a_fit_that_is_killed_in_every_phase_ends_in_the_same_bytes(make_shards, tmp_path):
    shards = make_shards(tmp_path / "shards", seconds=[20.0] * 24)
    out, log_path = tmp_path / "killed", tmp_path / "log.txt"
    for phase in ("extracting", "seeding", "lloyd"):
        kill_in(phase, start(shards.path, out, log_path), out, log_path)
        assert not (out / "codebook.json").exists(), f"it ended before it was killed while {phase}"
    assert any(out.glob("frames/block-*.f32"))
    config = KmeansConfig(feature=MfccConfig(), clustering=ClusteringConfig(**WORDS))
    whole = fit_codebook(shards, tmp_path / "whole", config)
    killed = fit_codebook(shards, out, config)
    assert killed.hash == whole.hash
    for name in ("centroids.safetensors", "codebook.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
