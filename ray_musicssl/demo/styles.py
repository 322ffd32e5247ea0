"""Ten genres as tables: tempo, metre, harmony, patterns and instruments; the composer has no other notion of genre.

Conventions:
    A pattern has 16 steps to a bar of four beats; a bar of three beats uses the first 12.
    `x` begins a sound, `-` holds it, `.` is silence. In a bass pattern r, t, f, s, o begin the chord's root, its third
    and fifth, the sixth above the root, and the octave. In a drum pattern `x` is a full stroke and `o` a soft one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ray_musicssl.demo.instruments import Instrument, instruments

CompMode = Literal["block", "arpeggio", "power", "boogie", "chuck"]
Drums = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Style:
    """What makes a genre."""

    name: str
    tempo_bpm: tuple[float, float]
    minor_odds: float
    major: tuple[str, ...]  # progressions in roman numerals
    minor: tuple[str, ...]
    comp: tuple[str, ...]
    comp_modes: tuple[CompMode, ...]
    bass: tuple[str, ...]
    melody: tuple[str, ...]  # rhythms
    comp_instruments: tuple[Instrument, ...]
    bass_instruments: tuple[Instrument, ...]
    lead_instruments: tuple[Instrument, ...]
    pad_instruments: tuple[Instrument, ...] = ()
    drums: tuple[Drums, ...] = ()
    drum_level: float = 0.8
    swing: tuple[float, float] = (0.5, 0.5)  # where the second eighth of a beat falls
    metres: tuple[int, ...] = (4,)  # beats in a bar
    chord_beats: tuple[int, ...] = (4,)  # beats a chord lasts
    melody_odds: float = 0.7  # chance that a section has a tune
    is_pentatonic: bool = False
    drive: tuple[float, float] = (0.8, 1.4)  # into the soft clipping of the whole mix


BLUES = Style(
    name="blues",
    tempo_bpm=(68, 126),
    swing=(0.6, 0.67),
    minor_odds=0.35,
    major=("I I IV I V7 IV I V7", "I IV I I IV IV I V7", "I I I I IV IV I I V7 IV I V7"),
    minor=("i i iv i V7 iv i V7", "i iv i V7"),
    comp=("x-x-x-x-x-x-x-x-", "x-x.x-x.x-x.x-x.", "..x-..x-..x-..x-"),
    comp_modes=("boogie", "boogie", "block"),
    bass=("r---t---f---s---", "r---f---s---f---", "r--rf---r--rs---"),
    melody=("..x-x-x---......", "x---..x-x-x-----", "x-x-x---..x-x---", "....x-x-x-x-x---"),
    is_pentatonic=True,
    comp_instruments=instruments("guitar:13"),
    bass_instruments=instruments("bass:01"),
    lead_instruments=instruments("reed:06 guitar:3"),
    pad_instruments=instruments("organ:0"),
    drums=(
        {"kick": "x.......x.......", "snare": "....x.......x...", "ride": "x...x.x.x...x.x."},
        {"kick": "x.....o.x.......", "snare": "....x.......x...", "hat": "x.o.x.o.x.o.x.o."},
    ),
    drum_level=0.6,
    drive=(0.9, 1.8),
)
CLASSICAL = Style(
    name="classical",
    tempo_bpm=(60, 140),
    minor_odds=0.45,
    metres=(3, 4, 4),
    chord_beats=(2, 4),
    major=("I IV V I", "I vi ii V", "I V vi iii IV I ii V", "I ii V7 I"),
    minor=("i iv V i", "i VI iv V", "i V7 i iv", "i III VI V"),
    comp=("x-x-x-x-x-x-x-x-", "xxxxxxxxxxxxxxxx", "x---x---x---x---", "x---------------"),
    comp_modes=("arpeggio", "arpeggio", "block"),
    bass=("r---------------", "r-------f-------", "r---f---o---f---"),
    melody=("x---x-x-x---x---", "x-----x-x---x---", "x-x-x-x-x-------", "x-------x---x---"),
    melody_odds=0.9,
    comp_instruments=instruments("string:012 keyboard:0"),
    bass_instruments=instruments("string:45"),
    lead_instruments=instruments("flute:01 string:03"),
    pad_instruments=instruments("string:2 vocal:1"),
    drive=(0.4, 0.9),
)
COUNTRY = Style(
    name="country",
    tempo_bpm=(88, 150),
    swing=(0.5, 0.58),
    minor_odds=0.15,
    metres=(4, 4, 4, 3),
    major=("I I IV I V V I I", "I IV V I", "I V I IV I V I I", "I vi IV V"),
    minor=("i VII VI VII", "i iv V i"),
    comp=("..x-..x-..x-..x-", "..xx..xx..xx..xx", "....x---....x---"),
    comp_modes=("chuck", "block"),
    bass=("r-------f-------", "r---....f---....", "r-----r-f---t---"),
    melody=("x-x-x---x-x-x---", "x---x-x-x-------", "..x-x-x-x---x---", "x-xxx-x-x---...."),
    is_pentatonic=True,
    comp_instruments=instruments("guitar:02"),
    bass_instruments=instruments("bass:02"),
    lead_instruments=instruments("vocal:24 string:3"),
    pad_instruments=instruments("string:4"),
    drums=(
        {"kick": "x.......x.......", "snare": "....x.......x...", "hat": "x.o.x.o.x.o.x.o."},
        {"kick": "x...o...x...o...", "snare": "..oox.oo..oox.oo"},
    ),
    drum_level=0.6,
    drive=(0.6, 1.2),
)
DISCO = Style(
    name="disco",
    tempo_bpm=(104, 132),
    minor_odds=0.6,
    major=("I vi IV V", "I IV I V", "I I ii V"),
    minor=("i VII VI V", "i iv i V", "i VI iv i", "i i iv v"),
    chord_beats=(2, 4, 4),
    comp=("..x.x...x..x..x.", "x..x..x...x.x...", "..x-..x-..x-..x-", "xx.xxx.xxx.xxx.x"),
    comp_modes=("block",),
    bass=("r-o-r-o-r-o-r-o-", "r-..o-.rr-..o-f-", "..r-..r-..r-..r-"),
    melody=("x-..x-..x---....", "..x-x-x-..x-x---", "x--x--x-x-------"),
    comp_instruments=instruments("guitar:4 keyboard:5"),
    bass_instruments=instruments("bass:5"),
    lead_instruments=instruments("string:56 brass:4"),
    pad_instruments=instruments("string:5"),
    drums=(
        {
            "kick": "x...x...x...x...",
            "snare": "....x.......x...",
            "hat": "x.o.x.o.x.o.x.o.",
            "open": "..x...x...x...x.",
        },
        {"kick": "x...x...x...x...", "clap": "....x.......x...", "hat": "xoxoxoxoxoxoxoxo"},
        {"kick": "x...x...x...x..o", "clap": "....x.......x...", "open": "..x...x...x...x."},
    ),
    drum_level=1.0,
    drive=(1.0, 1.8),
)
HIPHOP = Style(
    name="hiphop",
    tempo_bpm=(74, 108),
    swing=(0.5, 0.58),
    minor_odds=0.75,
    major=("I I IV IV", "vi IV I V", "I iii IV I"),
    minor=("i i VI VII", "i VI i VII", "i iv i v", "i i i VI"),
    comp=("x-----x-........", "x---....x---....", "..x...x.....x...", "x-------....x---"),
    comp_modes=("block", "arpeggio"),
    bass=("r-----r-..r-....", "r---------r---f-", "r--r....r-..r-o-"),
    melody=("x-x-..x-........", "x.x.x.xxx.x.x...", "..x-x-..x-..x-..", "xxx.xxx.xx.xx..."),
    melody_odds=0.55,
    is_pentatonic=True,
    comp_instruments=instruments("keyboard:6 mallet:24"),
    bass_instruments=instruments("bass:67"),
    lead_instruments=instruments("synth_lead:45 vocal:7"),
    pad_instruments=instruments("vocal:7"),
    drums=(
        {"kick": "x..x..x...x.....", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."},
        {"kick": "x.....x...xx....", "clap": "....x.......x..o", "hat": "xoxxxoxoxoxxxoxo"},
        {"kick": "x......x.x......", "snare": "....x.......x...", "hat": "x.o.x.oxx.o.x.o."},
    ),
    drum_level=1.15,
    drive=(1.2, 2.2),
)
