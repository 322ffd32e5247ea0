"""The orchestra: eleven families of eight programs, named as NSynth names its instruments."""

from dataclasses import dataclass

# Source: NSynth's families in their official order; the position is the class index.
FAMILIES = (
    "bass",
    "brass",
    "flute",
    "guitar",
    "keyboard",
    "mallet",
    "organ",
    "reed",
    "string",
    "synth_lead",
    "vocal",
)
SOURCES = ("acoustic", "electronic", "synthetic")
NUM_PROGRAMS = 8
TRAIN_ONLY_FAMILY = "synth_lead"  # NSynth has it in the training split only
# Programs whose single notes are kept for one split, so that no instrument is shared with training.
HELD_OUT_PROGRAMS = {"valid": (2,), "test": (5, 7)}
_ELECTRONIC_FROM = {"bass": 3, "guitar": 3, "keyboard": 4, "organ": 3, "mallet": 6, "string": 6, "brass": 6}


@dataclass(frozen=True, order=True)
class Instrument:
    """One program of one family; every one has its own timbre."""

    family: str
    program: int

    @property
    def source(self) -> str:
        """How NSynth would say it is sounded: acoustic, electronic or synthetic."""
        if self.family == TRAIN_ONLY_FAMILY or self.program == NUM_PROGRAMS - 1:
            return "synthetic"
        return "electronic" if self.program >= _ELECTRONIC_FROM.get(self.family, NUM_PROGRAMS) else "acoustic"

    @property
    def name(self) -> str:
        """NSynth's `<family>_<source>_<nnn>`."""
        return f"{self.family}_{self.source}_{self.program:03d}"


ORCHESTRA = tuple(Instrument(family, program) for family in FAMILIES for program in range(NUM_PROGRAMS))


def instruments(text: str) -> tuple[Instrument, ...]:
    """Read a row such as "guitar:135 organ:0": a family, a colon, and one digit a program."""
    return tuple(
        Instrument(family, int(digit))
        for family, _, digits in (word.partition(":") for word in text.split())
        for digit in digits
    )


def split_instruments(split: str) -> tuple[Instrument, ...]:
    """The instruments whose single notes make up a split of the NSynth-like set."""
    held_out = {program for programs in HELD_OUT_PROGRAMS.values() for program in programs}
    if split == "train":
        return tuple(i for i in ORCHESTRA if i.family == TRAIN_ONLY_FAMILY or i.program not in held_out)
    programs = HELD_OUT_PROGRAMS[split]
    return tuple(i for i in ORCHESTRA if i.family != TRAIN_ONLY_FAMILY and i.program in programs)
