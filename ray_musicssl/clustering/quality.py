"""What is normal of a codebook and of its labels, and a warning in words where something is not.

Conventions:
    Bands come from theory where there is some, else from codebooks fitted on the demo's music and on sound that must warn:
    30 songs of 30 s, MFCC and semitone spectra, 25 to 2000 clusters, 25 updates. There the usage was as of 0.68 to 0.85 of
    the clusters, the fullest one had 3.3 to 13 even shares, the entropy was 0.88 to 0.98 of its most, a label lasted 24 to
    192 ms (at least 2.4 times chance), and the last update lowered the inertia by 0.00004 to 0.0005. White noise gave runs
    of 1.02 times chance (MFCC); songs of which two thirds are silence 0.08 of the clusters and runs of up to 523 ms.
    A value outside its band is no proof of a fault: it is what to look at first when a model learns nothing.
    The inertia of mini-batches is estimated anew each round, from other frames, and the last one alone is exact: from one to
    the next it moves by percents, whatever the fit does, so neither its rises nor its last fall are judged.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ray_musicssl.clustering.usage import ClusterUsage, mean_run

logger = logging.getLogger(__name__)

MOST_DEAD = 0.01  # Empty clusters are refilled, so a fit has none; a sample may miss a rare one.
LEAST_EFFECTIVE = 0.5
LEAST_ENTROPY = 0.8
MOST_EVEN_SHARES = 20
LEAST_RUN = 1.3  # times the run of labels drawn anew each frame
# Two spans of ten hidden frames of 20 ms: a label that lasts longer is copied from the edges of what is hidden.
MOST_RUN_MS = 400.0
# Source: faiss's clustering warns below 39 points a centroid.
LEAST_FRAMES = 39
# Lloyd's updates never raise the inertia; float32 products, refilled clusters and estimates from a sample may, by this much.
MOST_RISE = 1e-3
MOST_LAST_FALL = 1e-3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One quantity beside what is normal."""

    measure: str
    value: float
    found: str  # the value in words
    normal: str  # its band in words
    warning: str = ""  # what it may mean and what to do; empty if the value is normal

    @property
    def is_warning(self) -> bool:
        """Whether the value lies outside its band."""
        return bool(self.warning)

    @property
    def sentence(self) -> str:
        """The warning with its numbers; empty if there is none."""
        return f"{self.measure}: {self.found} (normal: {self.normal}); {self.warning}" if self.warning else ""


def judge(
    *,
    usage: Sequence[int] = (),
    inertia: Sequence[float] = (),
    algorithm: str = "lloyd",
    runs: Sequence[int] = (),
    frame_rate: float = 0.0,
) -> list[Finding]:
    """Hold a codebook's fit, or its labels, against what is normal; what is not given is not judged.

    Args:
        usage: frames of each cluster: of the sample a codebook was fitted on, or of all labels.
        inertia: sum of squared distances after 0, 1, 2, ... updates, or rounds of mini-batches; only of a fit.
        algorithm: that of the fit, `lloyd` or `minibatch`.
        runs: entry n is the number of runs of n equal labels, counted on the frames of `usage`; only of labels.
        frame_rate: labels a second, needed with `runs`.

    Returns:
        Every quantity that could be judged, normal or not.

    Raises:
        ValueError: if `runs` are given without `usage` or a positive `frame_rate`.
    """
    if runs and not (usage and frame_rate > 0):
        raise ValueError(f"runs need the usage of the same frames and their rate, which is {frame_rate} Hz; give both")
    findings: list[Finding] = []
    used = ClusterUsage(usage)
    if used.num_frames:
        findings += _of_usage(used)
    if used.num_frames and inertia:
        findings.append(_frames_per_cluster(used))
    if len(inertia) > 1:
        findings += _of_inertia(inertia, algorithm)
    if used.num_frames and sum(runs):
        findings.append(_of_runs(used, runs, frame_rate))
    return findings


def warnings_of(findings: Sequence[Finding]) -> list[str]:
    """The sentences of what is not normal, in order."""
    return [finding.sentence for finding in findings if finding.is_warning]


def log_warnings(findings: Sequence[Finding], name: str) -> None:
    """Warn of what is not normal of the codebook or the labels called `name`."""
    for sentence in warnings_of(findings):
        logger.warning("%s: %s", name, sentence)


def _of_usage(used: ClusterUsage) -> Iterator[Finding]:
    k = len(used.counts)
    most_share = min(MOST_EVEN_SHARES / k, 0.5 + 1 / k)
    yield _finding(
        "dead clusters",
        used.num_dead / k,
        f"{used.num_dead:,} of {k:,}",
        f"at most {MOST_DEAD:.0%}",
        ""
        if used.num_dead <= MOST_DEAD * k
        else "the frames have fewer distinct places than there are clusters, or the codebook is of other music; lower "
        "clustering.num_clusters, or fit it on this audio",
    )
    yield _finding(
        "clusters in effective use",
        used.effective / k,
        f"as if {used.effective:,.0f} of {k:,}",
        f"at least {LEAST_EFFECTIVE:.0%}",
        ""
        if used.effective >= LEAST_EFFECTIVE * k
        else "few clusters hold most frames, so most labels say little; look for silence in the audio, or lower "
        "clustering.num_clusters",
    )
    yield _finding(
        "label entropy",
        used.entropy_bits,
        f"{used.entropy_bits:.2f} of {used.max_bits:.2f} bits",
        f"at least {LEAST_ENTROPY:.0%}",
        ""
        if used.entropy_bits >= LEAST_ENTROPY * used.max_bits
        else "a model may score well by naming the common clusters; look for silence or repeated files in the audio",
    )
    yield _finding(
        "fullest cluster",
        used.largest_share,
        f"{used.largest_share:.2%} of the frames",
        f"at most {most_share:.2%}",
        ""
        if used.largest_share <= most_share
        else "one cluster is much fuller than an even share, as silence is; hear its example on TensorBoard, and leave "
        "silent audio out of `prepare`",
    )


def _frames_per_cluster(used: ClusterUsage) -> Finding:
    each = used.num_frames / len(used.counts)
    return _finding(
        "frames a cluster",
        each,
        f"{each:,.0f}",
        f"at least {LEAST_FRAMES}",
        ""
        if each >= LEAST_FRAMES
        else "centroids of so few frames are those frames; raise clustering.max_frames, prepare more audio, or lower "
        "clustering.num_clusters",
    )


def _of_inertia(inertia: Sequence[float], algorithm: str) -> Iterator[Finding]:
    if not all(math.isfinite(value) for value in inertia):
        why = "the frames hold NaN or infinite values; check the feature, then fit again"
        yield _finding("inertia", math.nan, "not finite", "finite", why)
        return
    if algorithm == "minibatch":
        return
    falls = [(before - after) / before if before > 0 else 0.0 for before, after in pairwise(inertia)]
    rise = max(0.0, -min(falls))
    yield _finding(
        "largest rise of the inertia",
        rise,
        f"{rise:.2g} of it",
        f"at most {MOST_RISE:g}",
        ""
        if rise <= MOST_RISE
        else "an update must not make the fit worse; frames of very large or nearly equal values lose their "
        "digits: check the feature's scale",
    )
    yield _finding(
        "last fall of the inertia",
        falls[-1],
        f"{falls[-1]:.2g} of it",
        f"at most {MOST_LAST_FALL:g}",
        "" if falls[-1] <= MOST_LAST_FALL else "the fit had not settled; raise clustering.num_iterations",
    )


def _of_runs(used: ClusterUsage, runs: Sequence[int], frame_rate: float) -> Finding:
    frames, most = mean_run(used.num_frames, runs), MOST_RUN_MS * frame_rate / 1000
    # Where one label has nearly all frames, chance alone gives long runs: then only the upper limit holds.
    least = min(LEAST_RUN * used.chance_run, most)
    warning = ""
    if frames > most:
        warning = (
            "a hidden label is mostly that of its neighbours: there is little to learn; raise clustering.num_clusters, or "
            "leave silent audio out of `prepare`"
        )
    elif frames < least:
        warning = (
            "labels change almost as often as if they were drawn anew each frame: they follow noise; lower "
            "clustering.num_clusters, or take another feature"
        )
    return _finding(
        "mean run of a label",
        frames,
        f"{frames:.1f} frames, {1000 * frames / frame_rate:.0f} ms",
        f"{least:.1f} to {most:.0f} frames",
        warning,
    )


def _finding(measure: str, value: float, found: str, normal: str, warning: str) -> Finding:
    return Finding(measure=measure, value=value, found=found, normal=normal, warning=warning)
