"""What a report tells of a set of labels, from its `done-label.json` and, for a demo corpus, its `quality.json`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray_musicssl.clustering.contingency import Agreement
from ray_musicssl.errors import DataError
from ray_musicssl.reporting.json_object import read_object


@dataclass(frozen=True, kw_only=True)
class KindAgreement:
    """How labels agree with one kind of truth, and what chance gives."""

    kind: str
    about: str
    found: Agreement
    shuffled: Agreement  # the same labels shuffled across frames
    other_song: Agreement | None  # the same labels beside the truth of another song; None with a single song

    @property
    def gain(self) -> float:
        """PNMI beyond the higher of both chances; below 0 if there is none."""
        return self.found.pnmi - max(self.shuffled.pnmi, self.other_song.pnmi if self.other_song else 0.0)


@dataclass(frozen=True, kw_only=True)
class LabelFacts:
    """What is known of a finished set of labels."""

    path: Path
    codebook_hash: str
    frame_rate: float
    usage: tuple[int, ...]  # frames of each cluster
    runs: tuple[int, ...]  # entry n: runs of n frames, the last one those of more too; empty: not counted
    truth: tuple[KindAgreement, ...]  # empty: the music is not of a demo corpus
    num_songs: int  # that the truth was taken from


def read_label_sets(labels_dir: Path) -> Iterator[LabelFacts]:
    """The finished sets under a shards' `labels` directory, by name.

    Raises:
        DataError: if a file is damaged.
    """
    for marker in sorted(labels_dir.glob("*/done-label.json")):
        raw = read_object(marker)
        quality = _read_quality(marker.with_name("quality.json"), raw)
        try:
            yield LabelFacts(
                path=marker.parent,
                codebook_hash=str(raw["codebook_hash"]),
                frame_rate=float(raw["frame_rate"]),
                usage=_counts(raw.get("usage")),
                runs=_counts(raw.get("run_lengths")),
                truth=quality.truth,
                num_songs=quality.num_songs,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{marker} does not describe labels ({error!r}); run `musicssl label` again") from error


def _counts(values: Any) -> tuple[int, ...]:
    """Whole numbers; nothing where a summary has none."""
    return tuple(int(value) for value in values or ())


@dataclass(frozen=True)
class _Quality:
    truth: tuple[KindAgreement, ...] = ()
    num_songs: int = 0


def _read_quality(path: Path, labels: Mapping[str, Any]) -> _Quality:
    """What `quality.json` says of these labels; nothing if it is not there, or is of labels that lay here before."""
    if not path.exists():
        return _Quality()
    raw = read_object(path)
    try:
        if raw["codebook_hash"] != labels.get("codebook_hash"):
            return _Quality()
        return _Quality(tuple(map(_read_kind, raw["truth"])), int(raw["num_songs"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} does not hold measures ({error!r}); remove it and run `musicssl judge`") from error


def _read_kind(values: Mapping[str, Any]) -> KindAgreement:
    other = values["other_song"]
    return KindAgreement(
        kind=str(values["kind"]),
        about=str(values["about"]),
        found=_agreement(values["labels"]),
        shuffled=_agreement(values["shuffled"]),
        other_song=_agreement(other) if other else None,
    )


def _agreement(values: Mapping[str, Any]) -> Agreement:
    return Agreement(**{name: values[name] for name in Agreement.__dataclass_fields__})
