"""The words that two tagging data sets have for a piece, each a rule on its traits.

Conventions:
    Words are the official ones. A rule is true or false of the score alone; of synonyms, which listeners use in turn, all
    are given here. "Loud" and "quiet" are said of the playing (drums, distortion): recordings are brought to one level.
"""

from collections.abc import Callable, Mapping

from ray_musicssl.demo.traits import Traits

Rules = Mapping[str, Callable[[Traits], bool]]


def _is_electronic(t: Traits) -> bool:
    return "synth_lead" in t.families or t.plays("keyboard", "4567") or t.plays("bass", "567")


# The position is the column of `annotations_final.csv`, which has no order of its own either.
MAGNATAGATUNE: Rules = {
    "no voice": lambda t: not t.has_voice,
    "hard rock": lambda t: t.style in {"rock", "metal"} and t.drive > 2,
    "male vocal": lambda t: "male" in t.singers,
    "clarinet": lambda t: t.plays("reed", "4567"),
    "heavy": lambda t: t.drive > 1.8,
    "beats": lambda t: t.has_drums,
    "classical": lambda t: t.style == "classical",
    "female": lambda t: "female" in t.singers,
    "jazz": lambda t: t.style == "jazz",
    "guitar": lambda t: "guitar" in t.families,
    "quiet": lambda t: not t.has_drums and t.drive < 1.3,
    "no beat": lambda t: not t.has_drums,
    "solo": lambda t: t.is_solo,
    "happy": lambda t: t.mode == "major" and t.tempo_bpm > 100,
    "ambient": lambda t: not t.has_drums and t.energy < -0.6,
    "synth": lambda t: "synth_lead" in t.families,
    "funky": lambda t: t.style == "disco" and t.mode == "minor",
    "trumpet": lambda t: "brass" in t.families,
    "percussion": lambda t: t.has_drums or "mallet" in t.families,
    "voice": lambda t: t.has_voice,
    "strings": lambda t: "string" in t.families,
    "bass": lambda t: "bass" in t.families,
    "keyboard": lambda t: "keyboard" in t.families,
    "loud": lambda t: t.has_drums and t.drive > 1.5,
    "classic": lambda t: t.style == "classical" and not t.singers,
    "drums": lambda t: t.has_drums,
    "electronic": _is_electronic,
    "organ": lambda t: "organ" in t.families,
    "no vocal": lambda t: not t.has_voice,
    "choral": lambda t: "vocal" in t.families,
    "weird": lambda t: "mallet" in t.families and "synth_lead" in t.families,
    "fast": lambda t: t.tempo_bpm > 120,
    "acoustic guitar": lambda t: t.plays("guitar", "012"),
    "electric guitar": lambda t: t.plays("guitar", "34567"),
    "country": lambda t: t.style == "country",
    "violin": lambda t: t.plays("string", "013"),
    "reggae": lambda t: t.style == "reggae",
    "dark": lambda t: t.mode == "minor" and t.register < 60,
    "instrumental": lambda t: not t.has_voice and not t.is_solo,
    "bells": lambda t: "mallet" in t.families,
    "pop": lambda t: t.style == "pop",
    "female vocal": lambda t: "female" in t.singers,
    "mellow": lambda t: t.energy < -0.5,
    "piano": lambda t: t.plays("keyboard", "0123"),
    "sad": lambda t: t.mode == "minor" and t.tempo_bpm < 100,
    "sax": lambda t: t.plays("reed", "0123"),
    "slow": lambda t: t.tempo_bpm < 95,
    "male": lambda t: "male" in t.singers,
    "blues": lambda t: t.style == "blues",
    "vocal": lambda t: t.has_voice,
    "rock": lambda t: t.style == "rock",
    "dance": lambda t: t.style in {"disco", "pop"} and t.has_drums,
    "singing": lambda t: bool(t.singers),
    "cello": lambda t: t.plays("string", "45"),
    "flute": lambda t: "flute" in t.families,
    "beat": lambda t: t.has_drums and t.tempo_bpm > 100,
    "soft": lambda t: t.drive < 1.1,
    "choir": lambda t: "vocal" in t.families,
    "metal": lambda t: t.style == "metal",
    "hip hop": lambda t: t.style == "hiphop",
}

# Each category of MTG-Jamendo: its name in the tags, and the rules.
JAMENDO: Mapping[str, Rules] = {
    "genre": {
        "blues": lambda t: t.style == "blues",
        "classical": lambda t: t.style == "classical",
        "country": lambda t: t.style == "country",
        "dance": lambda t: t.style in {"disco", "pop"} and t.has_drums and t.tempo_bpm > 105,
        "disco": lambda t: t.style == "disco",
        "easylistening": lambda t: t.style in {"pop", "jazz", "country"} and t.drive < 1.1,
        "electronic": _is_electronic,
        "folk": lambda t: t.style == "country" and t.plays("guitar", "012"),
        "hardrock": lambda t: t.style in {"rock", "metal"} and t.drive > 2.2,
        "hiphop": lambda t: t.style == "hiphop",
        "instrumentalpop": lambda t: t.style == "pop" and not t.has_voice,
        "jazz": lambda t: t.style == "jazz",
        "lounge": lambda t: t.style in {"jazz", "disco"} and not t.singers and t.energy < 0,
        "metal": lambda t: t.style == "metal",
        "orchestral": lambda t: t.style == "classical" and "string" in t.families and not t.is_solo,
        "pop": lambda t: t.style == "pop",
        "reggae": lambda t: t.style == "reggae",
        "rock": lambda t: t.style in {"rock", "metal"},
        "triphop": lambda t: t.style == "hiphop" and t.tempo_bpm < 90,
    },
    "instrument": {
        "acousticguitar": lambda t: t.plays("guitar", "012"),
        "bass": lambda t: "bass" in t.families,
        "bell": lambda t: "mallet" in t.families,
        "cello": lambda t: t.plays("string", "45"),
        "clarinet": lambda t: t.plays("reed", "4567"),
        "drums": lambda t: t.has_drums,
        "electricguitar": lambda t: t.plays("guitar", "34567"),
        "electricpiano": lambda t: t.plays("keyboard", "45"),
        "flute": lambda t: "flute" in t.families,
        "guitar": lambda t: "guitar" in t.families,
        "keyboard": lambda t: "keyboard" in t.families,
        "organ": lambda t: "organ" in t.families,
        "piano": lambda t: t.plays("keyboard", "0123"),
        "saxophone": lambda t: t.plays("reed", "0123"),
        "strings": lambda t: "string" in t.families,
        "synthesizer": lambda t: "synth_lead" in t.families,
        "trumpet": lambda t: "brass" in t.families,
        "violin": lambda t: t.plays("string", "013"),
        "voice": lambda t: t.has_voice,
    },
    "mood/theme": {
        "calm": lambda t: t.energy < -0.7,
        "dark": lambda t: t.mode == "minor" and t.register < 60,
        "dream": lambda t: not t.has_drums and t.mode == "major",
        "emotional": lambda t: bool(t.singers) and t.mode == "minor",
        "energetic": lambda t: t.energy > 0.3,
        "fast": lambda t: t.tempo_bpm > 125,
        "film": lambda t: t.style == "classical",
        "fun": lambda t: t.mode == "major" and t.has_drums and t.tempo_bpm > 115,
        "happy": lambda t: t.mode == "major" and t.tempo_bpm > 100,
        "heavy": lambda t: t.drive > 1.8,
        "melodic": lambda t: t.register > 62,
        "relaxing": lambda t: t.energy < -0.4 and not t.singers,
        "sad": lambda t: t.mode == "minor" and t.tempo_bpm < 100,
        "slow": lambda t: t.tempo_bpm < 90,
    },
}


def magnatagatune_tags(traits: Traits) -> list[str]:
    """The tags of a clip, in column order."""
    return [tag for tag, holds in MAGNATAGATUNE.items() if holds(traits)]


def jamendo_tags(traits: Traits) -> dict[str, list[str]]:
    """The tags of a track by category, such as "genre---blues"; a category may have none."""
    return {
        category: [f"{category}---{tag}" for tag, holds in rules.items() if holds(traits)]
        for category, rules in JAMENDO.items()
    }
