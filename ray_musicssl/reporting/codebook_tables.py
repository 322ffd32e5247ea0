"""Tables of codebooks and labels: sizes, what is normal, and agreement with what sounds."""

from collections.abc import Sequence

from ray_musicssl.clustering.quality import Finding
from ray_musicssl.clustering.usage import mean_run
from ray_musicssl.reporting.codebook_facts import CodebookFacts
from ray_musicssl.reporting.label_facts import LabelFacts
from ray_musicssl.reporting.tables import NOTHING, Cell, Table


def codebook_table(codebooks: Sequence[tuple[str, CodebookFacts, LabelFacts | None]]) -> Table:
    """Codebooks by name, with how evenly their clusters are used and how long their labels last.

    Args:
        codebooks: name, codebook, and labels that were made with it if there are any.
    """
    rows = []
    for name, book, labels in codebooks:
        numbers = (
            f"{book.num_clusters:,}",
            f"{book.num_frames:,}",
            f"{book.entropy_bits:.2f} of {book.max_bits:.2f}",
            f"{book.num_dead:,}",
            run_text(labels) if labels else NOTHING,
            f"{max(0, len(book.inertia) - 1):,}{' rounds' if book.has_rounds else ''}",
        )
        rows.append((Cell(text=name), Cell(text=book.feature), *(Cell(text=number) for number in numbers)))
    return Table(
        header=("codebook", "feature", "clusters", "frames", "entropy, bits", "dead clusters", "mean run", "updates"),
        rows=tuple(rows),
        num_text_columns=2,
    )


def run_text(labels: LabelFacts) -> str:
    """How long a label lasts on average."""
    frames = mean_run(sum(labels.usage), labels.runs)
    return f"{frames:.1f} frames, {1000 * frames / labels.frame_rate:.0f} ms" if frames else NOTHING


def findings_table(of_fit: Sequence[Finding], of_labels: Sequence[Finding]) -> Table:
    """Every quantity that was judged, of the fit and of the labels, beside its band."""
    by_measure: dict[str, dict[str, Finding]] = {}
    for column, findings in (("fit", of_fit), ("labels", of_labels)):
        for finding in findings:
            by_measure.setdefault(finding.measure, {})[column] = finding
    rows = []
    for measure, columns in by_measure.items():
        normal = " / ".join(dict.fromkeys(finding.normal for finding in columns.values()))
        rows.append(
            (Cell(text=measure), Cell(text=normal), *(_finding(columns.get(name)) for name in ("fit", "labels")))
        )
    return Table(header=("measure", "normal", "in the fit", "in the labels"), rows=tuple(rows), num_text_columns=2)


def _finding(finding: Finding | None) -> Cell:
    if finding is None:
        return Cell(text=NOTHING)
    return Cell(text=finding.found, mark="hurts" if finding.is_warning else "")


def agreement_table(labels: LabelFacts) -> Table:
    """Purity, NMI and PNMI of labels with every kind of truth, each beside what chance gives."""
    rows = []
    for kind in labels.truth:
        other = kind.other_song
        numbers = (
            f"{kind.found.num_classes}",
            f"{kind.found.class_purity:.2f}",
            f"{kind.shuffled.class_purity:.2f}",
            f"{other.class_purity:.2f}" if other else NOTHING,
            f"{kind.found.cluster_purity:.2f}",
            f"{kind.found.nmi:.2f}",
            f"{kind.found.pnmi:.2f}",
            f"{kind.shuffled.pnmi:.2f}",
            f"{other.pnmi:.2f}" if other else NOTHING,
        )
        words = (kind.kind.replace("_", " "), kind.about)
        rows.append((*(Cell(text=word) for word in words), *(Cell(text=number) for number in numbers)))
    return Table(
        header=(
            "truth",
            "what it is",
            "classes",
            "purity",
            "purity\nshuffled",
            "purity\nother song",
            "cluster\npurity",
            "NMI",
            "PNMI",
            "PNMI\nshuffled",
            "PNMI\nother song",
        ),
        rows=tuple(rows),
        caption="Purity: how often the commonest class of a label is right; cluster purity: how often the commonest label of "
        "a class is. PNMI: the share of the classes' entropy that labels tell. Shuffled: the same labels in another order. "
        "Other song: the same labels beside the truth of another song, so what they tell by knowing the song alone.",
        num_text_columns=2,
    )
