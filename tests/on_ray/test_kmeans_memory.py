"""How much memory a fit takes, measured: the largest resident size of every process of the command, sampled."""

import subprocess
import sys
import threading
import time
from collections import defaultdict

import psutil
import pytest

# Small blocks: as many of them as an ordinary fit has, in seconds. What a process holds is a slab and not a block.
FIT = """
import sys
from pathlib import Path
from ray_musicssl.audio.shard import open_shards
from ray_musicssl.clustering import sample
from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.config.pretrain import KmeansConfig
from ray_musicssl.on_ray.kmeans import fit_codebook
from ray_musicssl.on_ray.session import session

sample.BLOCK_BYTES = 256 << 10
settings = ClusteringConfig(num_clusters=50, num_iterations=8, tolerance=0, max_frames=10**9, seeding="kmeans||")
with session(num_cpus=1):
    book = fit_codebook(open_shards(Path(sys.argv[1])), Path(sys.argv[2]), KmeansConfig(clustering=settings))
print(book.fit.num_frames)
"""


def kind_of(process):
    name = process.cmdline()[0] if process.cmdline() else ""
    if name.startswith("ray::"):
        return "worker"
    return next((kind for kind in ("raylet", "gcs_server") if kind in name), "driver" if "python" in name else "")


def peaks_of(*words):
    """The largest resident size of any process of each kind, in bytes, and what the command printed."""
    command = subprocess.Popen([sys.executable, "-c", FIT, *words], stdout=subprocess.PIPE, text=True)
    peaks, ended = defaultdict(int), threading.Event()

    def sample():
        me = psutil.Process(command.pid)
        while not ended.is_set():
            for process in (me, *me.children(recursive=True)):
                try:
                    kind = "driver" if process.pid == me.pid else kind_of(process)
                    peaks[kind] = max(peaks[kind], process.memory_info().rss)
                except (psutil.NoSuchProcess, IndexError):
                    continue
            time.sleep(0.05)

    watcher = threading.Thread(target=sample, daemon=True)
    watcher.start()
    said, _ = command.communicate(timeout=500)
    ended.set()
    watcher.join()
    assert command.returncode == 0
    return peaks, int(said.split()[-1])


@pytest.mark.ray
@pytest.mark.slow
def test_ten_times_the_frames_take_no_more_memory(make_shards, tmp_path):
    peaks, num_frames = {}, {}
    for times in (1, 10):
        shards = make_shards(tmp_path / f"shards-{times}", seconds=[15.0] * 14 * times)
        peaks[times], num_frames[times] = peaks_of(str(shards.path), str(tmp_path / f"book-{times}"))
    assert num_frames[10] == 10 * num_frames[1] > 200_000
    growth = {kind: peaks[10][kind] / peaks[1][kind] for kind in ("driver", "worker", "raylet")}
    assert max(growth.values()) <= 1.15, (growth, peaks)
