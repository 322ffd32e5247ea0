"""What a listener notices of a piece, read off its score: who plays and sings, how fast, how loud, in which mood."""

from dataclasses import dataclass
from math import log2

from ray_musicssl.demo.score import Score
from ray_musicssl.demo.theory import Mode
from ray_musicssl.demo.voices import Sex, sex_of

_HEARD_S = 0.1  # an instrument that sounds for less in all is not noticed


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What is noticed of a piece. Instruments are such as "string_3"; singers are not among them."""

    style: str
    mode: Mode
    tempo_bpm: float
    instruments: frozenset[str]
    families: frozenset[str]  # of the instruments
    singers: frozenset[Sex]
    has_drums: bool
    is_solo: bool  # one player or singer, no drums
    drive: float
    register: float  # mean MIDI pitch of what is above the bass, by duration
    energy: float  # about 0 on average over styles, spread about 1

    @property
    def has_voice(self) -> bool:
        """Somebody sings, or a choir does."""
        return bool(self.singers) or "vocal" in self.families

    def plays(self, family: str, programs: str) -> bool:
        """Whether one of some programs of a family is heard; programs are given as digits."""
        return any(f"{family}_{digit}" in self.instruments for digit in programs)


def traits_of(score: Score) -> Traits:
    """The traits of a piece."""
    heard_s: dict[str, float] = {}
    sung_s: dict[Sex, float] = {}
    players: set[object] = set()
    for note in score.notes:
        players.add(note.sung.singer if note.sung else note.instrument)
        if note.sung:
            sex = sex_of(note.sung.singer)
            sung_s[sex] = sung_s.get(sex, 0.0) + note.duration_s
        else:
            name = f"{note.instrument.family}_{note.instrument.program}"
            heard_s[name] = heard_s.get(name, 0.0) + note.duration_s
    instruments = frozenset(name for name, seconds in heard_s.items() if seconds >= _HEARD_S)
    upper = [(note.pitch, note.duration_s) for note in score.notes if note.instrument.family != "bass"]
    density = (len(score.notes) + len(score.strokes)) / score.duration_s
    return Traits(
        style=score.style,
        mode=score.key.mode,
        tempo_bpm=score.tempo_bpm,
        instruments=instruments,
        families=frozenset(name.rpartition("_")[0] for name in instruments),
        singers=frozenset(sex for sex, seconds in sung_s.items() if seconds >= _HEARD_S),
        has_drums=bool(score.strokes),
        is_solo=len(players) <= 1 and not score.strokes,
        drive=score.drive,
        register=_register(upper),
        energy=log2(score.tempo_bpm / 108) + 0.8 * (score.drive - 1.4) + 0.05 * (density - 16),
    )


def _register(notes: list[tuple[int, float]]) -> float:
    """Mean pitch by duration; middle C of nothing."""
    seconds = sum(length_s for _, length_s in notes)
    return sum(pitch * length_s for pitch, length_s in notes) / seconds if seconds else 60.0
