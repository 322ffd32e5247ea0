"""The paper's numbers, by preset, task and metric.

Conventions:
    Values are points (score x 100), as printed. Columns are in the order of Table 1, and so are the report's tasks.
    The first metric of a task is its headline.

Source: Ma et al. 2023, tables 1 (MTG columns, state of the art), 2 (MusicHuBERT) and 3 (Music2Vec).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperColumn:
    """One number column of the paper, under our names."""

    task: str
    metric: str
    title: str


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """One model of the paper."""

    title: str
    table: int  # 1, 2 or 3
    values: dict[tuple[str, str], float]  # (task, metric) -> points
    average: float | None  # as printed; the state of the art has none


# The text says 20 ms for beats, but values of 83-89 at 50 Hz look like the usual 70 ms; we follow the text.
_NINE_TASKS = (
    PaperColumn("magnatagatune", "roc_auc", "MTT ROC"),
    PaperColumn("magnatagatune", "average_precision", "MTT AP"),
    PaperColumn("giantsteps_key", "weighted_score", "Key"),
    PaperColumn("gtzan_genre", "accuracy", "Genre"),
    PaperColumn("emomusic", "r2_valence", "Valence"),
    PaperColumn("emomusic", "r2_arousal", "Arousal"),
    PaperColumn("nsynth_instrument", "accuracy", "Instrument"),
    PaperColumn("nsynth_pitch", "accuracy", "Pitch"),
    PaperColumn("vocalset_technique", "accuracy", "Technique"),
    PaperColumn("vocalset_singer", "accuracy", "Singer"),
    PaperColumn("gtzan_rhythm", "f1_20ms", "Beats"),
)
_MTG = (
    PaperColumn("mtg_instrument", "roc_auc", "MTG instrument ROC"),
    PaperColumn("mtg_instrument", "average_precision", "MTG instrument AP"),
    PaperColumn("mtg_moodtheme", "roc_auc", "MTG mood ROC"),
    PaperColumn("mtg_moodtheme", "average_precision", "MTG mood AP"),
    PaperColumn("mtg_genre", "roc_auc", "MTG genre ROC"),
    PaperColumn("mtg_genre", "average_precision", "MTG genre AP"),
    PaperColumn("mtg_top50", "roc_auc", "MTG top 50 ROC"),
    PaperColumn("mtg_top50", "average_precision", "MTG top 50 AP"),
)
COLUMNS = (*_NINE_TASKS, *_MTG)
NINE_TASKS = tuple(dict.fromkeys(column.task for column in _NINE_TASKS))
"""The tasks of tables 2 and 3, over which the paper averages."""

ROWS_DIFFER_IN = (
    *("objective.name", "feature.name", "feature.num_coefficients", "feature.layer", "clustering.num_clusters"),
    *("masking.mask_length", "masking.mask_prob", "objective.top_k", "audio.crop_s"),
)
"""Config paths by which the rows of tables 2 and 3 differ, beside the number of steps."""

TASK_TITLES = {
    "magnatagatune": "Tags (MTT)",
    "giantsteps_key": "Key",
    "gtzan_genre": "Genre",
    "emomusic": "Emotion",
    "nsynth_instrument": "Instrument",
    "nsynth_pitch": "Pitch",
    "vocalset_technique": "Technique",
    "vocalset_singer": "Singer",
    "gtzan_rhythm": "Beats",
    "mtg_instrument": "Instrument (MTG)",
    "mtg_moodtheme": "Mood (MTG)",
    "mtg_genre": "Genre (MTG)",
    "mtg_top50": "Top 50 tags (MTG)",
}
_MEANS = {"emomusic": "r2"}
METRIC_TITLES = {
    "accuracy": "accuracy",
    "r2": "R²",
    "weighted_score": "weighted score",
    "roc_auc": "ROC-AUC",
    "average_precision": "average precision",
    "r2_valence": "R² valence",
    "r2_arousal": "R² arousal",
    "f1_20ms": "F1 at 20 ms",
    "f1_70ms": "F1 at 70 ms",
}


def _row(title: str, table: int, numbers: str, mtg: str = "") -> PaperRow:
    """Read a printed row: eleven scores and the average, and eight MTG scores where Table 1 has them."""
    *scores, average = (float(number) for number in numbers.split())
    values = [*scores, *(float(number) for number in mtg.split())]
    keys = [(column.task, column.metric) for column in COLUMNS]
    return PaperRow(title=title, table=table, values=dict(zip(keys, values, strict=False)), average=average)


PRESET_ROWS = {
    "musichubert-k2000-mfcc39": _row(
        "MusicHuBERT, k=2000, 39-d MFCC",
        2,
        "90.2 37.7 14.7 70.0 42.1 66.5 69.3 77.4 65.9 75.3 88.6 64.4",
        "75.5 17.8 76.0 13.9 86.5 18.0 82.4 28.1",
    ),
    "musichubert-k2000-iter2": _row(
        "MusicHuBERT, k=2000, second iteration", 2, "90.4 37.5 13.8 68.3 43.3 67.4 70.0 80.3 63.6 70.4 88.8 63.8"
    ),
    "musichubert-k500-mfcc39": _row(
        "MusicHuBERT, k=500, 39-d MFCC", 2, "89.6 36.1 15.7 64.5 41.0 67.7 66.7 76.8 60.5 72.3 87.5 62.4"
    ),
    "musichubert-k500-mfcc60": _row(
        "MusicHuBERT, k=500, 60-d MFCC", 2, "90.3 38.0 17.6 69.7 40.8 67.5 70.3 79.0 66.2 75.5 88.6 65.0"
    ),
    "music2vec-vanilla": _row(
        "Music2Vec, vanilla",
        3,
        "89.1 35.1 19.0 59.7 38.5 61.9 69.4 88.9 68.3 69.5 33.5 57.8",
        "73.1 16.3 74.3 12.2 85.2 16.5 81.4 26.2",
    ),
    "music2vec-span5": _row("Music2Vec, mask span 5", 3, "87.3 32.0 15.7 47.6 22.7 41.2 64.2 84.8 56.7 53.8 33.2 49.7"),
    "music2vec-span15": _row(
        "Music2Vec, mask span 15", 3, "88.7 34.3 16.4 56.6 39.0 58.8 67.1 88.1 63.1 61.9 33.1 55.2"
    ),
    "music2vec-prob50": _row(
        "Music2Vec, mask probability 50 %", 3, "88.5 34.0 23.7 59.3 40.6 55.0 66.8 87.7 64.9 61.7 33.9 56.3"
    ),
    "music2vec-prob80": _row(
        "Music2Vec, mask probability 80 %", 3, "88.2 33.9 18.4 50.3 36.7 55.7 67.9 88.9 64.2 65.2 33.7 55.1"
    ),
    "music2vec-step800k": _row(
        "Music2Vec, 800,000 steps", 3, "87.7 32.7 20.3 54.5 34.9 47.3 66.9 87.5 65.6 65.1 33.4 55.0"
    ),
    "music2vec-target12": _row(
        "Music2Vec, target of 12 layers", 3, "89.7 35.2 26.5 64.5 41.7 64.2 71.1 89.2 71.0 73.2 34.1 60.6"
    ),
    "music2vec-crop5s": _row("Music2Vec, 5 s crops", 3, "90.0 36.6 18.5 76.6 53.4 71.6 68.3 88.9 71.3 72.4 33.9 61.8"),
}
SPEECH_ROWS = {
    "hubert-base": _row(
        "HuBERT base, on speech",
        2,
        "89.8 36.4 15.0 64.8 31.0 57.5 68.2 79.4 61.0 58.8 83.5 59.8",
        "73.2 17.0 74.0 11.6 85.0 16.3 81.8 26.5",
    ),
    "data2vec-audio-base": _row(
        "data2vec audio base, on speech",
        3,
        "88.4 33.6 15.5 60.7 23.0 49.6 69.3 77.7 64.9 74.6 36.4 55.2",
        "73.1 16.9 73.3 11.0 83.5 14.5 80.6 24.8",
    ),
}
_SOTA = "92.0 41.4 74.3 82.1 61.7 72.1 78.2 89.2 65.6 80.3 80.6 78.8 20.2 78.6 16.1 87.7 20.3 84.3 32.1"
SOTA = PaperRow(
    title="State of the art (in 2023)",
    table=1,
    values={(c.task, c.metric): float(number) for c, number in zip(COLUMNS, _SOTA.split(), strict=True)},
    average=None,
)

TRAINING_DAYS = (2, 3)
"""From so many to so many days for each of the twelve models, on 8 A100 of 40 GB. Source: Ma et al. 2023, 4.1."""


def paper_value(preset: str, task: str, metric: str) -> float | None:
    """The paper's score in points, or None where it has none (demo presets, untrained encoders, other metrics)."""
    row = PRESET_ROWS.get(preset)
    return row.values.get((task, metric)) if row else None


def task_title(task: str) -> str:
    """A short heading for a task; its own name if it is not one of the paper's."""
    return TASK_TITLES.get(task, task)


def metric_title(metric: str) -> str:
    """A metric's name as a reader would say it."""
    return METRIC_TITLES.get(metric, metric.replace("_", " "))


def task_order(task: str) -> tuple[int, str]:
    """Sorts tasks as Table 1 does, others after them by name."""
    known = list(TASK_TITLES)
    return (known.index(task) if task in known else len(known), task)


def headline(task: str, metrics: list[str]) -> str:
    """The metric that stands for a task among those it was scored with; the first by name if the paper has none.

    Where the paper prints two numbers that it averages, their mean does if there is one.
    """
    if (mean := _MEANS.get(task)) in metrics:
        return mean
    ranked = [column.metric for column in COLUMNS if column.task == task and column.metric in metrics]
    return ranked[0] if ranked else min(metrics)
