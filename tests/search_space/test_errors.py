"""Every mistake in a file: its line, the value, what is allowed."""

import pytest

from ray_musicssl.errors import ConfigError, DataError

HUBERT = "preset: musichubert-k2000-mfcc39\n"
MUSIC2VEC = "preset: music2vec-vanilla\n"
TWO = "variants:\n  a: {preset: musichubert-k2000-mfcc39}\n  b: {preset: musichubert-k2000-iter2, after: a}\n"

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
    "an unknown plug-in": (HUBERT + "overrides: {feature.name: chords}\n", 3, ["feature.name = 'chords' must be one"]),
    "a setting of the other objective": (
        HUBERT + "variants:\n  a:\n    objective.top_k: 3\n",
        5,
        ['unknown key "objective.musichubert.top_k"'],
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
    "samples of nothing": (HUBERT + "samples: 4\n", 3, ["samples=4 has no effect: no axis is drawn"]),
    "more samples than points": (
        HUBERT + "samples: 4\naxes: {masking.mask_length: {randint: [5, 8]}}\n",
        3,
        ["samples=4, but the axes have no more than 3 different points"],
    ),
    "too many trials": (
        HUBERT
        + f"axes:\n  training.seed: {{grid: {list(range(100))}}}\n  masking.mask_length: {{grid: {list(range(100))}}}",
        3,
        ["10000 trials are more than 1000"],
    ),
    "no variants": (HUBERT + "variants: {}\n", 3, ["variants is empty"]),
    "a name that is no directory": (HUBERT + "variants:\n  a/b: {}\n", 4, ['variant name "a/b" must be of letters']),
    "set where an axis sets it again": (
        HUBERT + "overrides:\n  masking.mask_prob: 0.5\naxes: {masking.mask_prob: {grid: [0.6]}}\n",
        4,
        ["masking.mask_prob=0.5 has no effect: masking.mask_prob is an axis"],
    ),
    "unknown parent": (
        TWO.replace("after: a", "after: k200"),
        4,
        ['after: "k200" is no variant; there are a'],
    ),
    "parents in a circle": (
        TWO.replace("mfcc39}", "iter2, after: b}"),
        4,
        ["a after b after a: they wait for each other"],
    ),
    "its own parent": (TWO.replace("after: a", "after: b"), 4, ["b after b: they wait"]),
    "a parent for targets that are not hidden": (
        TWO.replace("musichubert-k2000-iter2", "musichubert-k500-mfcc39"),
        4,
        ["after: a has no effect: the targets of b are no hidden layer"],
    ),
    "a parent beside an encoder": (
        TWO.replace("after: a", "after: a, feature.encoder: runs/x"),
        4,
        ["after: a has no effect", "no feature.encoder"],
    ),
    "a parent for an objective without labels": (
        "variants:\n  a: {preset: musichubert-demo}\n  b: {preset: music2vec-demo, after: a}\n",
        4,
        ["after: a has no effect"],
    ),
    "hidden targets of no encoder": (
        TWO.replace(", after: a", ""),
        4,
        ["the targets of b are a hidden layer, but of which encoder? give after: VARIANT"],
    ),
    "a layer above the parent's": (
        TWO.replace("after: a", "after: a, feature.layer: 13"),
        4,
        ["b learns layer 13 of a, which has only 12"],
    ),
    "residual of no codebook": (HUBERT + "overrides: {feature.name: residual}\n", 2, ["feature.codebook is not set"]),
    "span longer than the crop": (
        HUBERT + "axes:\n  audio.crop_s: {grid: [15, 0.25]}\n  masking.mask_length: {grid: [10, 20]}\n",
        5,
        [
            "span20",
            "crop0.25",
            "masking.mask_length=20 frames is longer than a crop of audio.crop_s=0.25",
            "skip_impossible",
        ],
    ),
    "more target layers than there are": (
        MUSIC2VEC + "variants:\n  a: {}\n  b: {objective.top_k: 13}\n",
        5,
        ["objective.top_k=13 is above encoder.num_layers=12"],
    ),
    "more clusters than frames": (
        HUBERT + "overrides:\n  clustering.max_frames: 1000\n",
        4,
        ["max_frames=1000 is below num_clusters=2000"],
    ),
    "crop longer than a step": (
        MUSIC2VEC + "overrides:\n  scaling.num_workers: 1\n  audio.batch_s: 20.0\n",
        5,
        ["audio.crop_s=30.0 is longer than a step's audio.batch_s=20.0"],
    ),
    "an axis without effect": (
        MUSIC2VEC + "axes:\n  clustering.num_clusters: {grid: [500, 2000]}\n",
        2,
        ["k2000 would train the very same run as k500; clustering.num_clusters has no effect on what it learns"],
    ),
    "two equal variants": (
        HUBERT + "variants:\n  a: {}\n  b: {masking.mask_prob: 0.8}\n",
        5,
        ["b would train the very same run as a; leave one out"],
    ),
    "unknown task": (
        HUBERT + "tasks:\n  - gtzan_genre\n  - gtzan_key\n",
        5,
        ['unknown task "gtzan_key" (did you mean "'],
    ),
    "a task twice": (HUBERT + "tasks: [emomusic, emomusic]\n", 3, ["the task emomusic is there twice"]),
    "no tasks": (HUBERT + "tasks: []\n", 3, ["tasks = []"]),
    "unknown metric": (
        HUBERT + "metric: averge\n",
        3,
        ['metric "averge" (did you mean "average"?) is neither average nor'],
    ),
    "a task that is not probed": (HUBERT + "tasks: emomusic\nmetric: gtzan_genre\n", 4, ['metric "gtzan_genre"']),
    "unknown metric of a task": (
        HUBERT + "metric: giantsteps_key.weighted\n",
        3,
        ['unknown metric "weighted" of giantsteps_key (did you mean "weighted_score"?)'],
    ),
    "unknown scheduler": (
        HUBERT + "scheduler: ahsa\n",
        3,
        ["scheduler = 'ahsa' (did you mean \"asha\"?) must be one of none"],
    ),
    "unknown setting of a scheduler": (
        HUBERT + "scheduler:\n  name: asha\n  grace: 1\n",
        5,
        ['unknown key "scheduler.grace" (did you mean "grace_fraction"?)'],
    ),
    "unknown search": (
        HUBERT + "search: optunna\n",
        3,
        ["search = 'optunna' (did you mean \"optuna\"?) must be one of"],
    ),
    "unknown setting of the probe": (
        HUBERT + "probe: {num_seed: 2}\n",
        3,
        ['"probe.num_seed" (did you mean "num_seeds"?)'],
    ),
    "optuna over a grid": (
        HUBERT + "search: optuna\naxes: {masking.mask_prob: {grid: [0.5]}}\n",
        4,
        ["search: optuna is for continuous axes (uniform, loguniform), but masking.mask_prob is a grid"],
    ),
    "optuna over nothing": (HUBERT + "search: optuna\n", 3, ["search: optuna has no axis"]),
    "optuna over seeds": (
        HUBERT + "search: optuna\nsamples: 2\nseeds: [1, 2]\naxes: {optim.peak_lr: {uniform: [0.1, 0.2]}}\n",
        3,
        ["not of 1 variants and 2 seeds"],
    ),
    "an end of an axis that Optuna could reach": (
        HUBERT + "search: optuna\nsamples: 1\naxes:\n  masking.mask_prob: {uniform: [0.0, 0.5]}\n",
        6,
        ["masking.mask_prob = 0.0"],
    ),
    "a seed twice": (HUBERT + "seeds: [1, 1]\n", 3, ["the seed 1 is there twice"]),
    "a seed below zero": (HUBERT + "seeds: [1, -1]\n", 3, ["seeds.1 = -1"]),
    "two words for the seed": (HUBERT + "overrides: {training.seed: 1}\nseeds: [2]\n", 3, ["no effect beside seeds"]),
    "an axis of seeds beside seeds": (
        HUBERT + "axes: {training.seed: {grid: [1]}}\nseeds: [2]\n",
        3,
        ["no effect beside seeds"],
    ),
    "early stopping of a parent": (TWO + "scheduler: asha\n", 5, ["could stop a, for whose checkpoint b waits"]),
    "losses that do not compare": (
        "variants:\n  a: {preset: musichubert-demo}\n  b: {preset: music2vec-demo}\nscheduler: median\n",
        5,
        ["scheduler: median compares trials by pretrain/loss, but those of a and b are of different objectives"],
    ),
    "accuracy without labels": (
        MUSIC2VEC + "scheduler: {name: asha, watch: pretrain/masked_accuracy}\n",
        3,
        ["music2vec-vanilla has no labels"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_refused_with_its_line(load, tmp_path, case):
    text, line, parts = WRONG[case]
    with pytest.raises(ConfigError) as refused:
        load("about: x\n" + text)
    message = str(refused.value)
    assert message.startswith(f"{tmp_path}/some.yaml:{line}: "), message
    for part in parts:
        assert part in message


def test_all_wrong_words_are_told_at_once(load):
    with pytest.raises(ConfigError) as refused:
        load("preset: music2vec-demo\nsamples: 0\nsearch: grid\n")
    lines = str(refused.value).splitlines()
    assert [line.partition("some.yaml:")[2].split(":")[0] for line in lines] == ["1", "2", "3"]
    assert "about is missing" in lines[0]


def test_two_trials_of_one_name_are_refused(load):
    text = """
        about: x
        preset: music2vec-vanilla
        axes: {init_from: {grid: [a/b, a c]}}
    """
    assert [trial.name for trial in load(text).trials] == ["init-froma_b", "init-froma_c"]
    with pytest.raises(
        ConfigError, match=r"some.yaml:2: two trials have the name init-froma_b: init_from=a/b, and init_"
    ):
        load(text.replace("a c", "a b"))


def test_an_encoder_that_is_not_there_is_missing_data(load):
    with pytest.raises(DataError, match=r"some.yaml:2: no encoder at nowhere"):
        load("about: x\npreset: musichubert-k2000-iter2\noverrides: {feature.encoder: nowhere}\n")


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
