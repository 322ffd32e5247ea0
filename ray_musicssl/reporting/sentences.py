"""What the numbers say, in words that are computed from them."""

from collections.abc import Sequence
from pathlib import Path

from ray_musicssl.reporting.found import Found, Ledger, Run
from ray_musicssl.reporting.paper import task_title
from ray_musicssl.reporting.scoreboard import ModelGains, Scoreboard, Verdict
from ray_musicssl.reporting.tables import signed

SYNTHETIC_NOTE = (
    "These numbers come from synthesised music and a tiny encoder: they prove the road, not the paper's tables."
)
MUSIC2VEC_NOTE = (
    "This loss is no measure of progress: the target moves with the student, and it may rise while features improve. "
    "Watch the spreads instead: targets whose spread falls towards 0 have collapsed."
)
# Source: our miniature runs that stayed at the plateau ended 0.7 % below the entropy, those that learned 3 % or more.
_LEARNED_FRACTION = 0.01
MOST_TOLD = 4  # runs of which the opening gives size and length, and which get a colour of their own
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def in_words(number: int) -> str:
    """A number up to twelve in letters, a larger one in digits."""
    return _NUMBERS[number] if number < len(_NUMBERS) else f"{number:,}"


def count_of(number: int, noun: str) -> str:
    """`one run`, `three runs`, `123 runs`."""
    return f"{in_words(number)} {noun}{'' if number == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def what_was_run(found: Found, board: Scoreboard) -> str:
    """The opening paragraph: what was trained, probed and found, wins and losses alike."""
    parts = []
    if found.runs:
        few = len(found.runs) <= MOST_TOLD
        verb = "encoder was" if len(found.runs) == 1 else "encoders were"
        runs = [_run_in_words(run) if few else run.name for run in found.runs]
        parts.append(f"{in_words(len(found.runs))} {verb} pre-trained: {listed(runs)}.")
    if board.models:
        encoders = board.encoders()
        counts = {
            "pre-trained encoder": len(encoders.of_kind("trained")),
            "untrained twin": len(encoders.of_kind("untrained")),
            "hand-made baseline": len(encoders.of_kind("baseline")),
        }
        kinds = listed([count_of(count, noun) for noun, count in counts.items() if count])
        verb = "was" if sum(counts.values()) == 1 else "were"
        parts.append(f"{kinds} {verb} probed on {count_of(len(board.tasks), 'task')}{_seeds_in_words(board)}.")
    parts.extend(_balance(board))
    return " ".join(part[0].upper() + part[1:] for part in parts)


def _run_in_words(run: Run) -> str:
    facts = []
    if run.config is not None:
        encoder = run.config.encoder
        kinds = ["MusicHuBERT"] * run.config.uses_labels + ["Music2Vec"] * bool(run.config.teacher)
        facts.append(f"{' + '.join(kinds)}, {encoder.num_layers} layers of {encoder.dim}")
    if run.log:
        done = int(run.log[-1]["step"])
        planned = run.config.training.max_steps if run.config else done
        facts.append(f"{done:,} steps" if done >= planned else f"{done:,} of {planned:,} steps so far")
    if hours := run.series("data/audio_hours"):
        facts.append(f"{hours.values[-1]:.1f} h of audio seen")
    if elapsed := run.series("sys/elapsed_s"):
        facts.append(duration(elapsed.values[-1]))
    return f"{run.name} ({', '.join(facts)})" if facts else run.name


def _seeds_in_words(board: Scoreboard) -> str:
    seeds = {
        len(m.values)
        for row in board.models
        for model in row.singles
        for s in model.scores.values()
        for m in s.metrics.values()
    }
    return f" with {count_of(seeds.pop(), 'probe seed')} each" if len(seeds) == 1 else ""


def _balance(board: Scoreboard) -> list[str]:
    """How often pre-training helped, and whose score is the best."""
    verdicts = [gain.verdict for entry in board.gains() for gain in entry.gains]
    sentences = []
    if verdicts:
        counts = {verdict: verdicts.count(verdict) for verdict in ("helps", "ties", "hurts")}
        sentences.append(
            f"against the untrained twin, pre-training helps in {counts['helps']} of {len(verdicts)} comparisons, "
            f"makes no clear difference in {counts['ties']} and hurts in {counts['hurts']}."
        )
    elif board.of_kind("trained"):
        sentences.append("no untrained twin was probed, so what pre-training gained is not known.")
    kinds = {"trained": "a pre-trained encoder", "untrained": "an untrained one", "baseline": "a hand-made baseline"}
    present = [kind for kind in kinds if any(model.kind == kind for model in board.models)]
    if len(present) > 1:
        wins: dict[str, list[str]] = {kinds[kind]: [] for kind in present}
        for task in board.tasks:
            best = {model.kind for model in board.best(task)}
            if best:
                winners = " tied with ".join(kinds[kind] for kind in present if kind in best)
                wins.setdefault(winners, []).append(_inside(task))
        won = [f"{winners} for {listed(tasks)}" for winners, tasks in wins.items() if tasks]
        sentences.extend([f"the best score belongs to {listed(won)}."] if won else [])
    return sentences


def _inside(task: str) -> str:
    """A task's title inside a sentence; abbreviations stay as they are."""
    title = task_title(task)
    return title[:1].lower() + title[1:]


def gains_in_words(entry: ModelGains) -> str:
    """The tasks on which pre-training helped, made no difference, or hurt."""
    phrases: list[str] = []
    openings: dict[Verdict, str] = {"helps": "helps on", "ties": "makes no clear difference on", "hurts": "hurts on"}
    for verdict, opening in openings.items():
        gains = sorted((g for g in entry.gains if g.verdict == verdict), key=lambda g: -abs(g.points))
        if gains:
            phrases.append(f"{opening} {listed([f'{_inside(g.task)} ({signed(g.points)})' for g in gains])}")
    return f"{entry.model.label}: pre-training {'; it '.join(phrases)}." if phrases else ""


def learned_in_words(run: Run) -> str:
    """Whether the masked loss went below the label entropy; empty if the run logs no entropy."""
    masked, entropy = run.series("pretrain/masked_loss"), run.series("pretrain/label_entropy")
    if not masked or not entropy:
        return ""
    loss, floor = masked.late_mean(), entropy.late_mean()
    numbers = f"masked loss {loss:.2f} nats, label entropy {floor:.2f} nats"
    if loss < floor * (1 - _LEARNED_FRACTION):
        return f"Learned {floor - loss:.2f} nats: {numbers}."
    relation = "is above" if loss > floor * (1 + _LEARNED_FRACTION) else "equals"
    return f"Nothing was learned: the loss {relation} the label entropy ({numbers})."


def spread_in_words(run: Run) -> str:
    """How far the Music2Vec teacher stayed from collapse, after the part of the run in which no limit holds."""
    target = run.series("pretrain/target_std")
    if not target:
        return ""
    limit, first = 0.0, 0.0
    if run.config and run.config.teacher:
        limit = run.config.teacher.min_target_std
        first = run.config.teacher.guard_after_fraction * run.config.training.max_steps
    guarded = [value for step, value in zip(target.steps, target.values, strict=True) if step >= first]
    lowest = min(guarded or target.values)
    verdict = "no collapse" if lowest > limit else "a collapse"
    return (
        f"Target spread {target.late_mean():.2f} at the end, {lowest:.2f} at its lowest (limit {limit:g}): {verdict}."
    )


def ledger_in_words(ledger: Ledger) -> str:
    """Files in, clips out."""
    total = sum(ledger.counts.values()) or int(ledger.facts.get("num_files", 0))
    used = sum(count for (status, _), count in ledger.counts.items() if status == "used")
    words = f"{used:,} of {count_of(total, 'file')} used without remark" if ledger.counts else count_of(total, "file")
    if "num_clips" in ledger.facts and "seconds" in ledger.facts:
        hours = float(ledger.facts["seconds"]) / 3600
        words += f"; they gave {int(ledger.facts['num_clips']):,} clips, {hours:.2f} h of audio"
    return words[0].upper() + words[1:] + "."


def duration(seconds: float) -> str:
    """Seconds in the unit a person would choose."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def place(path: Path, root: Path) -> str:
    """A path as the reader knows it: below the root, or the root's own name."""
    return str(path.relative_to(root)) if path != root else path.resolve().name
