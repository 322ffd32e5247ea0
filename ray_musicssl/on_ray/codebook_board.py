"""A codebook on TensorBoard: how its fit went, how its clusters are used, and what some of them sound like.

Conventions:
    `OUT/tb` beside the codebook, so that `tensorboard --logdir OUT` shows it. Names are `codebook/...`; the x axis of
    `codebook/inertia` is the number of updates, or of rounds of mini-batches: `codebook/fit` says which.
    An example is a frame near its cluster's centroid, with the sound around it. A cluster has a few, the nearest of each clip
    before a second one of any. They are looked for in about half an hour of clips, chosen by a hash of their names: the same
    ones for any number of workers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int16, Int32
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from ray_musicssl.audio.frames import SAMPLE_RATE, FrameGrid, seconds_to_samples
from ray_musicssl.audio.shard import FULL_SCALE, Shards, pcm_views, read_row_group
from ray_musicssl.clustering.codebook import Codebook
from ray_musicssl.clustering.quality import judge, log_warnings
from ray_musicssl.clustering.sample import ClipBlock, choose_clips
from ray_musicssl.clustering.sums import assign, one_blas_thread
from ray_musicssl.clustering.usage import ClusterUsage
from ray_musicssl.features.base import TargetFeature, clip_frames
from ray_musicssl.on_ray.session import run_tasks, session
from ray_musicssl.on_ray.targets import feature_here, gpus_per_task
from ray_musicssl.probing.hidden_targets import load_feature
from ray_musicssl.progress import progress
from ray_musicssl.run_dir import done_facts, hash_of, locked, mark_done

STAGE = "codebook-board"
VERSION = 2
NUM_CLUSTERS = 16  # that are heard
NUM_EXAMPLES = 4  # of each
SAMPLE_S = 1800.0  # of clips that are searched
EXCERPT_S = 0.75
PAUSE_S = 0.2
_FADE_S = 0.01
_INERTIA = {
    "lloyd": "the sum over all frames after each update.",
    "minibatch": "an estimate from the frames of each round of mini-batches; the last point is the sum over all frames.",
}


@dataclass(frozen=True, kw_only=True)
class Example:
    """A frame near its cluster's centroid, and what sounds around it."""

    cluster: int
    rank: int  # 0: the nearest of its clip
    distance: float  # squared
    place: tuple[int, int, int]  # part, row group, row
    frame: int
    clip_id: str
    pcm: Int16[np.ndarray, " samples"]


@dataclass(frozen=True, kw_only=True)
class _HeardClip:
    """One clip, its frames and their labels."""

    place: tuple[int, int, int]
    clip_id: str
    pcm: Int16[np.ndarray, " samples"]
    frames: Float32[np.ndarray, "frames dim"]
    labels: Int32[np.ndarray, " frames"]


@dataclass(frozen=True, kw_only=True)
class _Search:
    """One task's clips, and the clusters it looks for."""

    shards: Shards
    codebook: Codebook
    clips: ClipBlock
    clusters: tuple[int, ...]


def review_codebook(shards: Shards, codebook: Codebook, out_dir: Path) -> Path:
    """Warn of what is not normal of a fit, and show it on TensorBoard; gives the board's directory.

    Args:
        shards: what it was fitted on.
        codebook: the codebook.
        out_dir: its directory.

    Raises:
        DataError: if a part of the shards is damaged, or the feature's encoder is missing or has other weights.
    """
    fit = codebook.fit
    findings = judge(usage=fit.usage, inertia=fit.inertia, algorithm=fit.clustering.algorithm)
    log_warnings(findings, f"codebook {out_dir}")
    return write_codebook_board(shards, codebook, out_dir)


def write_codebook_board(shards: Shards, codebook: Codebook, out_dir: Path) -> Path:
    """Write `out_dir/tb`, unless it shows this codebook already; gives its path.

    Args:
        shards: clips to take examples from.
        codebook: what to show.
        out_dir: the codebook's directory.

    Raises:
        ConfigError: if the codebook's feature cannot be made.
        DataError: if a part of the shards is damaged, or the feature's encoder is missing or has other weights.
    """
    board_dir = out_dir / "tb"
    fit = [list(codebook.fit.inertia), list(codebook.fit.usage), codebook.fit.clustering.algorithm]
    fingerprint = hash_of([VERSION, codebook.hash, shards.content_hash, fit])
    done = done_facts(board_dir, STAGE)
    if done is not None and done["fingerprint"] == fingerprint:
        return board_dir
    clusters = spread_over_usage(codebook.fit.usage, NUM_CLUSTERS)
    with session():
        examples = nearest_examples(shards, codebook, clusters)
    with locked(board_dir):
        for path in board_dir.glob("events.out.tfevents.*"):  # of another codebook, or of a killed run
            path.unlink()
        with SummaryWriter(str(board_dir)) as board:
            _write_fit(board, codebook)
            _write_examples(board, codebook, examples)
        mark_done(board_dir, STAGE, fingerprint=fingerprint, facts={"codebook": codebook.hash, "clusters": clusters})
    return board_dir


def spread_over_usage(usage: Sequence[int], count: int) -> tuple[int, ...]:
    """Clusters from the fullest to the emptiest that is alive, evenly spread over that ranking."""
    counts = np.asarray(usage, np.int64)
    ranking = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    ranks = np.unique(np.linspace(0, len(ranking) - 1, min(count, len(ranking))).round().astype(int))
    return tuple(ranking[ranks].tolist())


def nearest_examples(shards: Shards, codebook: Codebook, clusters: tuple[int, ...]) -> list[Example]:
    """Examples of some clusters, cluster by cluster as they are given, the nearest first; inside `session()`."""
    feature = load_feature(codebook.feature)
    most_frames = round(SAMPLE_S * codebook.frame_rate)
    seed = codebook.fit.clustering.seed
    sample = choose_clips(shards.manifest(), feature.grid, dim=feature.dim, max_frames=most_frames, seed=seed)
    here = replace(shards, path=shards.path.resolve())
    searches = [_Search(shards=here, codebook=codebook, clips=clips, clusters=clusters) for clips in sample.blocks]
    found: list[Example] = []
    with progress("examples", sample.num_clips, "clips") as meter:
        for index, examples in run_tasks(_search, searches, num_gpus=gpus_per_task(codebook.feature)):
            found += examples
            meter.advance(len(searches[index].clips.rows))
    return _nearest(found, clusters)


def _nearest(examples: Sequence[Example], clusters: Sequence[int]) -> list[Example]:
    """The few nearest of each cluster; the order in which they were found plays no part."""
    ranked = sorted(examples, key=lambda e: (e.rank, e.distance, e.place))
    return [e for cluster in clusters for e in [e for e in ranked if e.cluster == cluster][:NUM_EXAMPLES]]


def _search(search: _Search) -> list[Example]:
    torch.set_num_threads(1)
    feature = feature_here(search.codebook.feature)
    found: list[Example] = []
    for clip in _clips(search, feature):
        for cluster in search.clusters:
            found.extend(_examples(clip, cluster, search.codebook, feature.grid))
        found = _nearest(found, search.clusters)
    return found


def _clips(search: _Search, feature: TargetFeature) -> Iterator[_HeardClip]:
    """The block's clips in order; a row group is read once."""
    block = search.clips
    open_group, table = (-1, -1), None
    for part, row_group, row in zip(block.parts.tolist(), block.row_groups.tolist(), block.rows.tolist(), strict=True):
        path = search.shards.part_path(part)
        if (part, row_group) != open_group or table is None:
            open_group = (part, row_group)
            table = read_row_group(path, row_group, columns=["clip_id", "pcm"])
        pcm = pcm_views(table["pcm"])[row]
        frames = clip_frames(feature, pcm, place=f"clip {row} of row group {row_group} in {path}")
        with one_blas_thread():
            labels = assign(frames, search.codebook.centroids)
        clip_id = table["clip_id"][row].as_py()
        yield _HeardClip(place=(part, row_group, row), clip_id=clip_id, pcm=pcm, frames=frames, labels=labels)


def _examples(clip: _HeardClip, cluster: int, codebook: Codebook, grid: FrameGrid) -> Iterator[Example]:
    """The clip's frames that are nearest to the cluster's centroid, of those that are the cluster's, an excerpt apart."""
    members = np.flatnonzero(clip.labels == cluster)
    apart = clip.frames[members].astype(np.float64) - codebook.centroids[cluster]
    distances = (apart**2).sum(axis=1)
    size = seconds_to_samples(EXCERPT_S)
    rank = 0
    while len(members) and rank < NUM_EXAMPLES:
        best = int(distances.argmin())
        frame = int(members[best])
        centre = frame * grid.hop_length + grid.receptive_field // 2
        start = max(0, min(centre - size // 2, len(clip.pcm) - size))
        yield Example(
            cluster=cluster,
            rank=rank,
            distance=float(distances[best]),
            place=clip.place,
            frame=frame,
            clip_id=clip.clip_id,
            pcm=clip.pcm[start : start + size].copy(),
        )
        rank += 1
        is_far = np.abs(members - frame) * grid.hop_length >= size
        members, distances = members[is_far], distances[is_far]


def joined(examples: Sequence[Example]) -> Float32[np.ndarray, " samples"]:
    """The examples' sound in turn, a short silence between them."""
    pause = np.zeros(seconds_to_samples(PAUSE_S), np.float32)
    pieces: list[Float32[np.ndarray, " samples"]] = []
    for example in examples:
        sound = example.pcm.astype(np.float32) / np.float32(FULL_SCALE)
        fade = min(seconds_to_samples(_FADE_S), len(sound) // 2)
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        sound[:fade] *= ramp
        sound[len(sound) - fade :] *= ramp[::-1]
        pieces += [sound, pause]
    return np.concatenate(pieces[:-1]) if pieces else pause


def _write_fit(board: SummaryWriter, codebook: Codebook) -> None:
    usage, inertia = ClusterUsage(codebook.fit.usage), codebook.fit.inertia
    for number, value in enumerate(inertia):
        board.add_scalar("codebook/inertia", value / max(1, codebook.fit.num_frames), number)
    algorithm = codebook.fit.clustering.algorithm
    board.add_text("codebook/fit", f"{algorithm}: `codebook/inertia`, divided by the frames, is {_INERTIA[algorithm]}")
    last = max(0, len(inertia) - 1)
    board.add_scalar("codebook/entropy_bits", usage.entropy_bits, last)
    board.add_scalar("codebook/effective_clusters", usage.effective, last)
    board.add_scalar("codebook/dead_clusters", usage.num_dead, last)
    if usage.num_frames:
        board.add_histogram("codebook/usage", np.asarray(codebook.fit.usage), last)
        board.add_figure("codebook/usage, fullest first", _usage_figure(usage), last)


def _usage_figure(usage: ClusterUsage) -> Figure:
    shares = np.sort(np.asarray(usage.counts))[::-1] / usage.num_frames
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(np.arange(1, len(shares) + 1), shares, step="mid", alpha=0.6)
    axes.axhline(1 / len(shares), linestyle=":", color="black", linewidth=1)
    axes.set(xlabel="cluster, fullest first", ylabel="share of the frames", ylim=(0, None))
    axes.set_title(f"{usage.entropy_bits:.2f} of {usage.max_bits:.2f} bits, {usage.num_dead} dead", fontsize=9)
    return figure


def _write_examples(board: SummaryWriter, codebook: Codebook, examples: Sequence[Example]) -> None:
    lines = [
        f"Frames nearest to their centroid, {EXCERPT_S} s around each, from about {SAMPLE_S / 60:.0f} minutes of clips.",
        "",
        "| cluster | frames of the fit | clips and seconds |",
        "| --- | --- | --- |",
    ]
    for cluster in dict.fromkeys(example.cluster for example in examples):
        of_cluster = [example for example in examples if example.cluster == cluster]
        sound = torch.from_numpy(joined(of_cluster))
        board.add_audio(f"codebook/cluster-{cluster:04d}", sound[None], sample_rate=SAMPLE_RATE)
        places = ", ".join(f"{e.clip_id} {e.frame / codebook.frame_rate:.2f}" for e in of_cluster)
        lines.append(f"| {cluster:04d} | {codebook.fit.usage[cluster]:,} | {places} |")
    board.add_text("codebook/examples", "\n".join(lines))
