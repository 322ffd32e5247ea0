"""Beats from beat activations, and frame labels from beats.

Conventions:
    Frame t is at time t / frame_rate; a beat at time s belongs to frame round(s * frame_rate).
    The bar-pointer state (interval tau, position k < tau) counts frames since the last beat; states lie interval by
    interval, so the state after (tau, k) is the next one in memory and an interval's last state is followed by a beat.

Source: Krebs, Boeck, Widmer 2015 (state space, tempo transitions); the settings and quirks are those of madmom's
DBNBeatTrackingProcessor, which the paper's reference pipeline runs with its defaults.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

MIN_BPM = 55.0
MAX_BPM = 215.0
TRANSITION_LAMBDA = 100.0  # how unwilling the tempo is to change at a beat
OBSERVATION_LAMBDA = 16  # the first 1/16 of a beat interval counts as "on the beat"
ACTIVATION_FLOOR = 1e-7  # a saturated sigmoid would make every other state impossible
PEAK_THRESHOLD = 0.3
PEAK_RADIUS_S = 0.07
BATCH_CURVES = 32  # curves decoded side by side: enough to hide the cost of a NumPy call, small enough for the cache


@dataclass(frozen=True, kw_only=True)
class BeatStates:
    """The hidden states of the decoder at one frame rate."""

    first: Int64[np.ndarray, " intervals"]  # index of each interval's first state
    last: Int64[np.ndarray, " intervals"]
    interval_of: Int64[np.ndarray, " states"]
    is_beat: Bool[np.ndarray, " states"]
    later_beats: Int64[np.ndarray, " later"]  # beat states that are not an interval's first
    log_transition: Float64[np.ndarray, "intervals intervals"]  # [from, to], at a beat


@lru_cache(maxsize=8)
def beat_states(frame_rate: float | int) -> BeatStates:
    """The state space for activations at `frame_rate` Hz.

    Raises:
        ValueError: if the rate is too low to tell tempi apart.
    """
    shortest, longest = np.round(60 * frame_rate / MAX_BPM), np.round(60 * frame_rate / MIN_BPM)
    if shortest < 1 or longest <= shortest:
        raise ValueError(f"frame_rate is {frame_rate} Hz; beats need at least 10 frames a second")
    intervals = np.arange(int(shortest), int(longest) + 1)
    first = np.concatenate([[0], np.cumsum(intervals)[:-1]]).astype(np.int64)
    interval_of = np.repeat(np.arange(len(intervals)), intervals)
    position = np.concatenate([np.arange(tau) / tau for tau in intervals])
    is_beat = position < 1 / OBSERVATION_LAMBDA
    beats = np.flatnonzero(is_beat)
    ratio = intervals[None, :] / intervals[:, None]  # [from, to]
    change = np.exp(-TRANSITION_LAMBDA * np.abs(ratio - 1))
    change[change <= np.spacing(1)] = 0
    change /= change.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        log_transition = np.log(change)
    return BeatStates(
        first=first,
        last=first + intervals - 1,
        interval_of=interval_of,
        is_beat=is_beat,
        later_beats=beats[~np.isin(beats, first)],
        log_transition=log_transition,
    )


def decode_beats(
    activations: Float[np.ndarray, " frames"], frame_rate: float | int, *, threshold: float | int = 0.0
) -> Float64[np.ndarray, " beats"]:
    """Beat times in seconds, ascending: the most likely path of the bar-pointer model, snapped to activation peaks.

    No beats for silence (all zero). Ties go to the lowest state.

    Args:
        activations: beat probabilities in [0, 1], one a frame.
        frame_rate: frames a second.
        threshold: cuts the frames before the first and after the last activation that reaches it.

    Raises:
        ValueError: if an activation is not in [0, 1].
    """
    return decode_beats_of_many([activations], frame_rate, threshold=threshold)[0]


def decode_beats_of_many(
    curves: Sequence[Float[np.ndarray, " _"]], frame_rate: float | int, *, threshold: float | int = 0.0
) -> list[Float64[np.ndarray, " _"]]:
    """`decode_beats` of each curve, several at a time: the same beats, in a quarter of the time.

    Raises:
        ValueError: if an activation is not in [0, 1].
    """
    beats: list[Float64[np.ndarray, " _"]] = [np.empty(0)] * len(curves)
    cut: dict[int, tuple[np.ndarray, int]] = {}
    for index, curve in enumerate(curves):
        if not np.all((curve >= 0) & (curve <= 1)):
            raise ValueError(f"activations of curve {index} leave [0, 1]; give probabilities, not logits")
        inside, start = _above(curve, threshold)
        if inside.any():
            cut[index] = (inside, start)
    # Curves of like length share a batch, so that little of it is padding.
    order = sorted(cut, key=lambda index: len(cut[index][0]))
    states = beat_states(frame_rate)
    for begin in range(0, len(order), BATCH_CURVES):
        batch = order[begin : begin + BATCH_CURVES]
        paths = _likeliest_paths([cut[index][0] for index in batch], states)
        for index, path in zip(batch, paths, strict=True):
            inside, start = cut[index]
            beats[index] = (_peaks_on_path(path, inside, states) + start) / frame_rate
    return beats


def _above(curve: np.ndarray, threshold: float) -> tuple[np.ndarray, int]:
    """The stretch between the first and last frame that reach the threshold, and where it starts."""
    if not threshold:
        return curve, 0
    reached = np.flatnonzero(curve >= threshold)
    if not reached.any():  # none, or frame 0 alone, which the reference leaves out too
        return curve[:0], 0
    return curve[reached[0] : reached[-1] + 1], int(reached[0])


def _likeliest_paths(curves: Sequence[np.ndarray], states: BeatStates) -> list[np.ndarray]:
    """The Viterbi path (state indices) of each curve; shorter curves are padded and read off where they end."""
    lengths = np.array([len(curve) for curve in curves])
    num_curves, num_states, num_frames = len(curves), len(states.interval_of), int(lengths.max())
    padded = np.full((num_frames, num_curves), 0.5)
    for column, curve in enumerate(curves):
        padded[: len(curve), column] = np.clip(curve, ACTIVATION_FLOOR, 1 - ACTIVATION_FLOOR)
    on_beat, off_beat = np.log(padded), np.log((1 - padded) / (OBSERVATION_LAMBDA - 1))
    old = np.full((num_states, num_curves), -np.log(num_states))
    new = np.empty_like(old)
    # Inside an interval there is one way on; where a beat came from is worked out on the way back, for the path alone.
    before_beats = np.empty((num_frames, len(states.last), num_curves))
    arrivals = np.empty((len(states.last), len(states.last), num_curves))  # [from, to, curves]
    end_states = np.empty(num_curves, np.int64)
    before_later = states.later_beats - 1
    for t in range(num_frames):
        np.take(old, states.last, axis=0, out=before_beats[t], mode="clip")
        np.add(states.log_transition[:, :, None], before_beats[t][:, None, :], out=arrivals)
        np.add(old[:-1], off_beat[t], out=new[1:])
        new[states.later_beats] = old[before_later] + on_beat[t]
        new[states.first] = arrivals.max(axis=0) + on_beat[t]
        old, new = new, old
        for ended in np.flatnonzero(lengths == t + 1):
            end_states[ended] = old[:, ended].argmax()
    return [
        _walk_back(int(end_states[column]), before_beats[: lengths[column], :, column], states)
        for column in range(num_curves)
    ]


def _walk_back(end_state: int, before_beats: np.ndarray, states: BeatStates) -> np.ndarray:
    """The path that ends in `end_state`, one interval at a time."""
    path = np.empty(len(before_beats), np.int64)
    state, t = end_state, len(before_beats) - 1
    while t >= 0:
        interval = int(states.interval_of[state])
        steps = min(state - int(states.first[interval]), t)  # frames back to this interval's beat
        path[t - steps : t + 1] = np.arange(state - steps, state + 1)
        t -= steps
        origin = (states.log_transition[:, interval] + before_beats[t]).argmax()
        state, t = int(states.last[origin]), t - 1
    return path


def _peaks_on_path(path: np.ndarray, curve: np.ndarray, states: BeatStates) -> Int64[np.ndarray, " beats"]:
    """The frame of the highest activation (the first such) in each run of beat states."""
    if not path.any():  # as the reference: a path that never leaves state 0 has no beat
        return np.empty(0, np.int64)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], states.is_beat[path], [False]])))
    runs = edges.reshape(-1, 2)
    return np.array([left + curve[left:right].argmax() for left, right in runs], np.int64)


def decode_beats_by_peaks(
    activations: Float[np.ndarray, " frames"],
    frame_rate: float | int,
    *,
    threshold: float = PEAK_THRESHOLD,
    radius_s: float = PEAK_RADIUS_S,
) -> Float64[np.ndarray, " beats"]:
    """Beat times in seconds: frames at or above `threshold` that no frame within `radius_s` exceeds.

    Of equal neighbours the first counts. It knows nothing of tempo: a plain reading of the activation.
    """
    radius = max(1, round(radius_s * frame_rate))
    padded = np.pad(activations.astype(np.float64), radius, constant_values=-np.inf)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1)  # [frames, window]
    is_peak = (around.argmax(axis=1) == radius) & (activations >= threshold)
    return np.flatnonzero(is_peak) / frame_rate


def beat_labels(
    beats_s: Sequence[float], num_frames: int, frame_rate: float | int, *, widen: bool
) -> Float32[np.ndarray, " frames"]:
    """1 on every beat's frame, 0 elsewhere; beats after the last frame are left out.

    Args:
        beats_s: beat times in seconds.
        num_frames: length of the label curve.
        frame_rate: frames a second.
        widen: also label the frame before and the frame after, as in training.

    Source: Ma et al. 2023, 3.2 (the two adjacent frames are labelled too).
    """
    labels = np.zeros(num_frames, np.float32)
    frames = np.round(np.asarray(beats_s, np.float64) * frame_rate).astype(np.int64)
    for offset in (-1, 0, 1) if widen else (0,):
        shifted = frames + offset
        labels[shifted[(shifted >= 0) & (shifted < num_frames)]] = 1
    return labels
