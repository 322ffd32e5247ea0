"""Every mistake in the words of a file: its line, the value, what is allowed."""

import pytest

from ray_musicssl.errors import ConfigError

HUBERT = "preset: musichubert-k2000-mfcc39\n"
DROPOUTS = ("encoder.dropout", "encoder.attention_dropout", "encoder.input_dropout", "encoder.layerdrop")
LONG_KEYS = (*DROPOUTS, "optim.warmup_fraction", "objective.masked_weight", "objective.unmasked_weight")

# What the file says after `about: x` in its first line; the line of the error; parts of its message.
WRONG = {
    "unknown top-level key": ("axis: {}\n" + HUBERT, 2, ['unknown key "axis" (did you mean "axes"?)', "variants"]),
    "not YAML": (HUBERT + "axes: {a: [\n", 4, ["not YAML"]),
    "a key twice": (HUBERT + "samples: 2\nsamples: 3\n", 4, ['"samples" is there twice (first in line 3)']),
    "a key that is not text": (HUBERT + "variants:\n  500: {}\n", 4, ["the key 500 is not text; write it in quotes"]),
    "anchors": (HUBERT + "tasks: &t [gtzan_genre]\nseeds: *t\n", 3, ["anchors and aliases"]),
    "wrong type of a word": (HUBERT + "samples: eight\n", 3, ["samples = 'eight'"]),
    "unknown preset": (
        "preset: music2vec-vanila\n",
        2,
        ['unknown preset "music2vec-vanila" (did you mean "music2vec-van'],
    ),
    "unknown preset of a variant": (
        "variants:\n  a: {preset: music2vec-demo}\n  b:\n    masking.mask_length: 5\n    preset: music2vec-crop5\n",
        6,
        ['unknown preset "music2vec-crop5" (did you mean "music2vec-crop5s"?)'],
    ),
    "unknown scale": (HUBERT + "scale: dmo\n", 3, ['unknown scale "dmo" (did you mean "demo"?)']),
    "no preset": ("variants:\n  a: {masking.mask_prob: 0.5}\n", 3, ["variant a has no preset; give preset: NAME"]),
    "no preset and no variants": ("scale: demo\n", 1, ["the space has no preset"]),
    "preset that is no name": ("variants:\n  a: {preset: 3}\n", 3, ["preset of variant a is 3, not a name"]),
    "unknown config path in overrides": (
        HUBERT + "overrides:\n  training.max_steps: 5\n  masking.mask_pob: 0.5\n",
        5,
        ['unknown config path "masking.mask_pob" (did you mean "masking.mask_prob"?)'],
    ),
    "unknown config path in a variant": (
        HUBERT + "variants:\n  a: {}\n  b: {optimm.peak_lr: 1}\n",
        5,
        ['unknown config path "optimm.peak_lr" (did you mean "optim.peak_lr"?)'],
    ),
    "unknown config path of an axis": (
        HUBERT + "axes:\n  masking.span: {grid: [1]}\n",
        4,
        ['unknown config path "masking.span" (did you mean "mask'],
    ),
    "a section for a path": (HUBERT + "overrides: {masking: 3}\n", 3, ["it is a section: set masking.mask_prob, "]),
    "a mapping for a value": (HUBERT + "overrides: {masking.mask_prob: {a: 1}}\n", 3, ["has the mapping {'a': 1}"]),
    "a name as an override": (HUBERT + "overrides: {preset: music2vec-demo}\n", 3, ['unknown config path "preset"']),
    "a date": (HUBERT + "overrides: {init_from: 2020-01-01}\n", 3, ["quote it if it is text"]),
    "infinity": (HUBERT + "overrides: {optim.peak_lr: .inf}\n", 3, ["inf is neither text, a finite number"]),
    "wrong type of a value": (
        HUBERT + "overrides:\n  masking.mask_length: ten\n",
        4,
        ["masking.mask_length = 'ten': Input should be a valid integer"],
    ),
    "value out of range in a variant": (
        HUBERT + "variants:\n  a: {}\n  b: {masking.mask_prob: 1.5}\n",
        5,
        ["masking.mask_prob = 1.5: Input should be less than or equal to 1 (in b)"],
    ),
    "value out of range on an axis": (
        HUBERT + "axes:\n  masking.mask_prob:\n    grid:\n      - 0.5\n      - 1.5\n",
        7,
        ["masking.mask_prob = 1.5", "(in prob1.5)"],
    ),
    "value out of range on a drawn axis": (
        HUBERT + "samples: 3\naxes:\n  masking.mask_prob: {uniform: [1.5, 2]}\n",
        5,
        ["masking.mask_prob = 1.", "less than or equal to 1"],
    ),
    "an unknown plug-in": (
        HUBERT + "overrides: {feature.name: chords}\n",
        3,
        ["feature.name = 'chords' (did you mean \"chroma\"?) must be one"],
    ),
    "a setting of the other objective": (
        HUBERT + "variants:\n  a:\n    objective.top_k: 3\n",
        5,
        ['unknown key "objective.top_k" of objective.name=musichubert; known there'],
    ),
    "unknown distribution": (
        HUBERT + "axes:\n  optim.peak_lr: {loguniforn: [1, 2]}\n",
        4,
        ['unknown distribution "loguniforn" of optim.peak_lr (did you mean "loguniform"?)', "grid, choice"],
    ),
    "two distributions": (
        HUBERT + "axes: {optim.peak_lr: {grid: [1], choice: [2]}}\n",
        3,
        ["needs one of grid, choice"],
    ),
    "no list": (HUBERT + "axes: {optim.peak_lr: {grid: 3}}\n", 3, ["grid needs a list such as [0.5, 0.65], not 3"]),
    "empty grid": (HUBERT + "axes:\n  optim.peak_lr:\n    grid: []\n", 5, ["optim.peak_lr: grid is empty"]),
    "a value twice": (HUBERT + "axes:\n  optim.peak_lr: {grid: [1, 1]}\n", 4, ["grid lists 1 twice"]),
    "three bounds": (HUBERT + "axes: {optim.peak_lr: {uniform: [1, 2, 3]}}\n", 3, ["two numbers, low and high"]),
    "bounds of text": (HUBERT + "axes: {optim.peak_lr: {uniform: [a, 2]}}\n", 3, ["needs two numbers"]),
    "bounds upside down": (HUBERT + "axes: {optim.peak_lr: {uniform: [2, 1]}}\n", 3, ["from 2 to 1 is empty"]),
    "logarithm of zero": (HUBERT + "axes: {optim.peak_lr: {loguniform: [0, 1]}}\n", 3, ["begin above 0"]),
    "fractions of randint": (HUBERT + "axes: {masking.mask_length: {randint: [1, 5.5]}}\n", 3, ["needs whole numbers"]),
    "drawn, but how often": (HUBERT + "axes: {optim.peak_lr: {uniform: [1, 2]}}\n", 3, ["give samples: 8"]),
    "a seed of nothing": (HUBERT + "seed: 4\n", 3, ["seed=4 has no effect: no axis is drawn", "seeds: [4]"]),
    "a truth value for a number": (
        HUBERT + "overrides:\n  masking.mask_length: true\n",
        4,
        ["masking.mask_length = True: Input should be a number, not true or false"],
    ),
    "a truth value among numbers": (HUBERT + "seeds: [true, 2]\n", 3, ["should be a number, not true or false"]),
    "a truth value on an axis": (
        HUBERT + "axes:\n  masking.mask_prob: {grid: [0.5, on]}\n",
        4,
        ["masking.mask_prob = True: Input should be a number"],
    ),
    "a schedule that is nearly one": (
        HUBERT + "overrides:\n  optim.schedule: lnear\n",
        4,
        ["optim.schedule = 'lnear' (did you mean \"linear\"?) must be 'linear' or 'tristage'"],
    ),
    "a name that no directory can have": (
        HUBERT
        + "variants:\n  "
        + "v" * 60
        + ": {}\naxes:\n"
        + "".join(f"  {key}: {{grid: [0.123456789]}}\n" for key in LONG_KEYS),
        4,
        ["has a name of 2", "no more than 200; search fewer axes in one file"],
    ),
    "numbers beyond all bounds": (
        HUBERT + "samples: 1\naxes: {training.seed: {randint: [1, 100000000000000000000000]}}\n",
        4,
        ["needs whole numbers below 2^63"],
    ),
    "brackets without end": (HUBERT + "about2: " + "[" * 3000, 1, ["not YAML"]),
    "a variant that waits for nothing": (
        HUBERT + "variants:\n  b: {after: }\n",
        4,
        ["after of variant b is None, not a name"],
    ),
    "samples of nothing": (HUBERT + "samples: 4\n", 3, ["samples=4 has no effect: no axis is drawn"]),
    "more samples than points": (
        HUBERT + "samples: 4\naxes: {masking.mask_length: {randint: [5, 8]}}\n",
        3,
        ["samples=4, but 1000 draws gave no other point than the 3 before"],
    ),
    "too many trials": (
        HUBERT
        + f"axes:\n  training.seed: {{grid: {list(range(100))}}}\n  masking.mask_length: {{grid: {list(range(100))}}}",
        3,
        ["10000 trials are more than 400"],
    ),
    "no variants": (HUBERT + "variants: {}\n", 3, ["variants is empty"]),
    "a name that is no directory": (HUBERT + "variants:\n  a/b: {}\n", 4, ['variant name "a/b" must be of letters']),
    "set where an axis sets it again": (
        HUBERT + "overrides:\n  masking.mask_prob: 0.5\naxes: {masking.mask_prob: {grid: [0.6]}}\n",
        4,
        ["masking.mask_prob=0.5 has no effect: masking.mask_prob is an axis"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_refused_with_its_line(refuses, case):
    refuses(*WRONG[case])


def test_all_wrong_words_are_told_at_once(load):
    with pytest.raises(ConfigError) as refused:
        load("preset: music2vec-demo\nsamples: 0\nsearch: grid\n")
    lines = str(refused.value).splitlines()
    assert [line.partition("some.yaml:")[2].split(":")[0] for line in lines] == ["1", "2", "3"]
    assert "about is missing" in lines[0]


@pytest.mark.parametrize("text", ["", "- 1\n", "3\n"])
def test_a_file_that_is_no_mapping_is_refused(load, text):
    with pytest.raises(ConfigError, match=r"some.yaml:1: a search space is a mapping"):
        load(text)


def test_a_missing_file_is_refused_with_those_that_are_there(write):
    from ray_musicssl.search_space.space import load_space

    path = write("about: x")
    with pytest.raises(
        ConfigError, match=r'no search space at .*sone.yaml \(did you mean "some.yaml"\?\); .* has some.yaml'
    ):
        load_space(path.with_name("sone.yaml"))


def test_bytes_that_are_no_text_are_refused(write):
    from ray_musicssl.search_space.space import load_space

    path = write("x")
    path.write_bytes(b"about: \xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_space(path)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("masking.mask_pob=1", r'unknown key "masking.mask_pob" \(did you mean "mask_prob"\?\)'),
        ("masking.mask_prob=3", r"masking.mask_prob=3 on the command line: masking.mask_prob = 3"),
        ("masking.mask_prob", "is not an override"),
        ("optim.peak_lr=1", "optim.peak_lr=1 on the command line, but optim.peak_lr is an axis"),
        ("optim={peak_lr: 1}", r"optim={.*} on the command line, but optim.peak_lr is an axis"),
        ("preset=music2vec-demo", "would only change a name"),
    ],
)
def test_a_wrong_word_of_the_command_is_refused(load, word, message):
    text = "about: x\npreset: music2vec-demo\naxes: {optim.peak_lr: {grid: [0.1]}}\n"
    with pytest.raises(ConfigError, match=message):
        load(text, overrides=[word])


def test_a_wrong_setting_of_the_probe_is_refused(load):
    with pytest.raises(ConfigError, match='unknown key "num_seed"'):
        load("about: x\npreset: music2vec-demo\n", probe_settings=["num_seed=3"])
