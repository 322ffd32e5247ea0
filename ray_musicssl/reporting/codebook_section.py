"""The report's section on codebooks: how they were fitted, what their labels know, and what is not normal."""

import math
from collections.abc import Sequence

from ray_musicssl.clustering.quality import Finding, judge, warnings_of
from ray_musicssl.reporting import codebook_plots as plots
from ray_musicssl.reporting.blocks import Block, Figure, Keys, fold, table_block, text
from ray_musicssl.reporting.codebook_facts import CodebookFacts
from ray_musicssl.reporting.codebook_tables import agreement_table, codebook_table, findings_table, run_text
from ray_musicssl.reporting.found import Found
from ray_musicssl.reporting.label_facts import KindAgreement, LabelFacts
from ray_musicssl.reporting.sentences import count_of, listed, place

# Source: on the demo's hour of music, chance itself moves PNMI by less than this.
_LEAST_GAIN = 0.02


def codebooks(found: Found, key: Keys) -> list[Block]:
    """The blocks of the section; none without codebooks."""
    if not found.codebooks:
        return []
    named = [(place(book.path, found.root), book, labels_of(book, found.label_sets)) for book in found.codebooks]
    blocks = [table_block(codebook_table(named))]
    for name, book, labels in named:
        blocks.append(Block(kind="heading", text=name))
        blocks += _one(book, labels, key)
    return blocks


def labels_of(book: CodebookFacts, label_sets: Sequence[LabelFacts]) -> LabelFacts | None:
    """The labels that were made with a codebook: of several sets those that are held against the truth, else the first."""
    own = [labels for labels in label_sets if book.hash and labels.codebook_hash == book.hash]
    return max(own, key=lambda labels: bool(labels.truth), default=None)


def codebook_in_words(book: CodebookFacts) -> str:
    """How much of the codebook is in use."""
    effective = math.exp(book.entropy_nats)
    return (
        f"{book.entropy_bits:.2f} of {book.max_bits:.2f} bits, as if {effective:.0f} of {book.num_clusters:,} "
        f"clusters were used evenly; {book.num_dead:,} dead."
    )


def findings_in_words(of_fit: Sequence[Finding], of_labels: Sequence[Finding]) -> list[str]:
    """Every warning, or one sentence that all is normal; nothing if nothing could be judged."""
    warnings = [f"Warning: {words} (fit)." for words in warnings_of(of_fit)]
    warnings += [f"Warning: {words} (labels)." for words in warnings_of(of_labels)]
    measures = list(dict.fromkeys(finding.measure for finding in (*of_fit, *of_labels)))
    if not warnings and measures:
        return [f"Nothing unusual in {listed(measures)}."]
    return warnings


def knowledge_in_words(truth: Sequence[KindAgreement], num_songs: int) -> str:
    """What the labels tell beyond chance, most first, and what they do not tell."""
    ranked = sorted(truth, key=lambda kind: -kind.gain)
    known = [f"{_name(kind)} (+{kind.gain:.2f})" for kind in ranked if kind.gain >= _LEAST_GAIN]
    unknown = [_name(kind) for kind in ranked if kind.gain < _LEAST_GAIN]
    parts = []
    if known:
        parts.append(f"beyond what chance and the song alone give, a label tells of {listed(known)}")
    if unknown:
        parts.append(f"{'it tells' if known else 'a label tells'} nothing of {listed(unknown)}")
    return f"Held against the scores of {count_of(num_songs, 'song')}: {'; '.join(parts)}." if parts else ""


def _name(kind: KindAgreement) -> str:
    return kind.kind.replace("_", " ")


def _one(book: CodebookFacts, labels: LabelFacts | None, key: Keys) -> list[Block]:
    of_fit = judge(usage=book.usage, inertia=book.inertia, algorithm=book.algorithm)
    of_labels = judge(usage=labels.usage, runs=labels.runs, frame_rate=labels.frame_rate) if labels else []
    blocks = [block for words in findings_in_words(of_fit, of_labels) for block in text(words)]
    if labels:
        blocks += text(knowledge_in_words(labels.truth, labels.num_songs))
    if figures := _figures(book, labels, key):
        blocks.append(Block(kind="figures", figures=tuple(figures)))
    if labels and labels.truth:
        blocks.append(table_block(agreement_table(labels)))
    if of_fit or of_labels:
        blocks.append(fold("What is normal", table_block(findings_table(of_fit, of_labels))))
    return blocks


def _figures(book: CodebookFacts, labels: LabelFacts | None, key: Keys) -> list[Figure]:
    figures = []
    if sum(book.usage):
        figures.append(Figure(svg=plots.usage(key(), book), caption=codebook_in_words(book)))
    if book.inertia and all(math.isfinite(value) for value in book.inertia):
        caption = "Squared distance to the nearest centroid, a frame."
        if book.has_rounds:
            caption += (
                " Of each round of mini-batches an estimate from its own frames; the last point is of all frames."
            )
        figures.append(Figure(svg=plots.inertia(key(), book), caption=caption))
    if labels and sum(labels.runs):
        caption = f"How long a label lasts: {run_text(labels)} on average."
        figures.append(Figure(svg=plots.run_lengths(key(), labels), caption=caption))
    if labels and labels.truth:
        caption = "What a label tells of what sounds, beside what it would tell by chance."
        figures.append(Figure(svg=plots.agreement(key(), labels), caption=caption))
    return figures
