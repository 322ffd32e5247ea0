"""Scores of predictions against answers; every one lies in [0, 1], but for R2, which may be negative.

Conventions:
    A class index of a key is 0..11 for C..B major, 12..23 for C..B minor.
    Tolerances of beats are widened by `ROUNDING_S`: |1.02 - 1.00| is a little over 0.02 in floating point.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from ray_musicssl.config.probe import EnsembleRule

ROUNDING_S = 1e-6
# Source: MIREX key evaluation, as mir_eval.key.weighted_score.
KEY_POINTS_FIFTH = 0.5
KEY_POINTS_RELATIVE = 0.3
KEY_POINTS_PARALLEL = 0.2


def accuracy(answers: Int[np.ndarray, " examples"], guesses: Int[np.ndarray, " examples"]) -> float:
    """The fraction of examples whose guess is the answer."""
    return float(np.mean(answers == guesses))


def confusion(
    answers: Int[np.ndarray, " examples"], guesses: Int[np.ndarray, " examples"], num_classes: int
) -> list[list[int]]:
    """Counts by [answer][guess]."""
    cells = np.bincount(answers * num_classes + guesses, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes).tolist()


@dataclass(frozen=True, kw_only=True)
class Songs:
    """Outputs of clips brought together to one row a song."""

    tracks: Sequence[str]  # in the order of their first clip
    first_clip: Sequence[int]  # index of each song's first clip
    outputs: Float64[np.ndarray, "songs outputs"]


def by_song(
    tracks: Sequence[str], outputs: Float[np.ndarray, "clips outputs"], rule: EnsembleRule = "mean_logits"
) -> Songs:
    """One row of outputs a song, from the rows of its clips.

    `vote` counts the clips' highest classes; its ties go to the class with the lowest index.
    """
    values = outputs.astype(np.float64)
    if rule == "mean_probs":
        values = np.exp(values - values.max(axis=1, keepdims=True))
        values /= values.sum(axis=1, keepdims=True)
    elif rule == "vote":
        values = np.eye(values.shape[1])[values.argmax(axis=1)]
    first_clip = dict(reversed([(track, index) for index, track in enumerate(tracks)]))
    names = sorted(first_clip, key=lambda track: first_clip[track])
    row = {track: index for index, track in enumerate(names)}
    song_of = np.array([row[track] for track in tracks], np.int64)
    joined = np.full((len(names), values.shape[1]), -np.inf if rule == "max" else 0.0)
    if rule == "max":
        np.maximum.at(joined, song_of, values)
    else:
        np.add.at(joined, song_of, values)
        joined /= np.bincount(song_of, minlength=len(names))[:, None]
    return Songs(tracks=names, first_clip=[first_clip[track] for track in names], outputs=joined)


def key_score(answers: Int[np.ndarray, " songs"], guesses: Int[np.ndarray, " songs"]) -> float:
    """The mean MIREX weighted key score: 1 for the key, less for keys that share most of its notes.

    A guess a fifth above the answer in the same mode gives 0.5 (a fifth below nothing), the relative key 0.3, the
    parallel key 0.2.
    """
    answer_tonic, guess_tonic = answers % 12, guesses % 12
    answer_minor, guess_minor = answers >= 12, guesses >= 12
    same_mode = answer_minor == guess_minor
    up = (guess_tonic - answer_tonic) % 12
    points = np.where(same_mode & (up == 7), KEY_POINTS_FIFTH, 0.0)
    relative = np.where(answer_minor, up == 3, up == 9)
    points = np.where(~same_mode & relative, KEY_POINTS_RELATIVE, points)
    points = np.where(~same_mode & (up == 0), KEY_POINTS_PARALLEL, points)
    points = np.where(same_mode & (up == 0), 1.0, points)
    return float(points.mean())


def matched_beats(
    reference_s: Float[np.ndarray, " reference"], estimate_s: Float[np.ndarray, " estimate"], tolerance_s: float
) -> int:
    """The most pairs of one reference and one estimated beat that lie within `tolerance_s` of each other.

    Both must ascend. Pairing the earliest that fit is then the best pairing, as all windows are equally wide.
    """
    limit = tolerance_s + ROUNDING_S
    matched = i = j = 0
    reference, estimate = reference_s.tolist(), estimate_s.tolist()
    while i < len(reference) and j < len(estimate):
        distance = estimate[j] - reference[i]
        if abs(distance) <= limit:
            matched, i, j = matched + 1, i + 1, j + 1
        elif distance < 0:
            j += 1
        else:
            i += 1
    return matched


@dataclass(frozen=True, kw_only=True)
class BeatScore:
    """F1 of beats in the two ways of averaging."""

    pooled: float  # of the counts summed over tracks
    per_track: float  # mean of the tracks' own F1


def beat_f1(
    references: Sequence[Float[np.ndarray, " _"]], estimates: Sequence[Float[np.ndarray, " _"]], tolerance_s: float
) -> BeatScore:
    """F1 of estimated beats; 0 where reference or estimate is empty. No beats are trimmed.

    Source: mir_eval.beat.f_measure for one track; pooled as in the MARBLE benchmark.
    """
    pairs = list(zip(references, estimates, strict=True))
    matched = np.array([matched_beats(reference, estimate, tolerance_s) for reference, estimate in pairs])
    totals = np.array([len(reference) + len(estimate) for reference, estimate in pairs])
    # F1 = 2PR / (P + R) = 2 matched / (references + estimates)
    per_track = 2 * matched / np.maximum(totals, 1)
    return BeatScore(
        pooled=float(2 * matched.sum() / max(totals.sum(), 1)),
        per_track=float(per_track.mean()) if pairs else 0.0,
    )


def r2(
    answers: Float[np.ndarray, "examples numbers"], guesses: Float[np.ndarray, "examples numbers"]
) -> Float64[np.ndarray, " numbers"]:
    """The coefficient of determination of each number; 1 is perfect, 0 is as good as the mean.

    An answer that never varies gives 1 if it is met exactly and 0 otherwise, as in scikit-learn.
    """
    answers, guesses = answers.astype(np.float64), guesses.astype(np.float64)
    missed = ((answers - guesses) ** 2).sum(axis=0)
    spread = ((answers - answers.mean(axis=0)) ** 2).sum(axis=0)
    constant = np.where(missed == 0, 1.0, 0.0)
    return np.where(spread == 0, constant, 1 - missed / np.where(spread == 0, 1, spread))


@dataclass(frozen=True, kw_only=True)
class TagScore:
    """Macro scores over the classes that can be scored."""

    auc: float  # area under the ROC curve
    ap: float  # average precision
    num_classes: int  # with at least one positive and one negative; only these are averaged
    auc_of_class: Float64[np.ndarray, " classes"]  # NaN where a class cannot be scored
    ap_of_class: Float64[np.ndarray, " classes"]


def tag_score(answers: Bool[np.ndarray, "examples classes"], scores: Float[np.ndarray, "examples classes"]) -> TagScore:
    """ROC-AUC (a tie counts half) and average precision (without interpolation) of each class, and their macro means.

    The means are NaN if no class can be scored. All classes at once: a probe asks after every epoch, and a loop over 50
    classes would cost as much as its training.
    """
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked, hits = np.take_along_axis(scores, order, axis=0), np.take_along_axis(answers, order, axis=0)
    true = hits.cumsum(axis=0, dtype=np.float64)  # at each place, how many of it and those above are positive
    false = np.arange(1, len(scores) + 1, dtype=np.float64)[:, None] - true
    is_end = np.ones(scores.shape, bool)  # the last place of those with equal scores: only there is a threshold
    is_end[:-1] = ranked[1:] != ranked[:-1]
    true_above, false_above = _at_end_above(true, is_end), _at_end_above(false, is_end)
    positives = answers.sum(axis=0)
    usable = (positives > 0) & (positives < len(answers))
    area = np.where(is_end, (false - false_above) * (true + true_above) / 2, 0).sum(axis=0)
    gained = np.where(is_end, (true - true_above) * true / (true + false), 0).sum(axis=0)
    auc = area / np.where(usable, positives * (len(answers) - positives), np.nan)
    ap = gained / np.where(usable, positives, np.nan)
    return TagScore(
        auc=float(auc[usable].mean()) if usable.any() else float("nan"),
        ap=float(ap[usable].mean()) if usable.any() else float("nan"),
        num_classes=int(usable.sum()),
        auc_of_class=auc,
        ap_of_class=ap,
    )


def _at_end_above(
    counts: Float64[np.ndarray, "examples classes"], is_end: Bool[np.ndarray, "examples classes"]
) -> Float64[np.ndarray, "examples classes"]:
    """At each place the count at the nearest end above it, 0 if there is none; counts never fall."""
    above = np.zeros_like(counts)
    above[1:] = np.maximum.accumulate(np.where(is_end, counts, 0), axis=0)[:-1]
    return above
