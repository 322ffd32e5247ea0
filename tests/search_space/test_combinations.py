"""Words that are each well but not together: variants that wait, combinations, twins, tasks, ways of searching."""

import pytest

from ray_musicssl.errors import ConfigError, DataError

HUBERT = "preset: musichubert-k2000-mfcc39\n"
MUSIC2VEC = "preset: music2vec-vanilla\n"
TWO = "variants:\n  a: {preset: musichubert-k2000-mfcc39}\n  b: {preset: musichubert-k2000-iter2, after: a}\n"

# What the file says after `about: x` in its first line; the line of the error; parts of its message.
WRONG = {
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
        ["b: learns layer 13 of a, which has only 12"],
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
    "optuna over targets": (
        HUBERT + "search: optuna\nsamples: 1\naxes:\n  clustering.tolerance: {uniform: [0.1, 0.2]}\n",
        6,
        ["search: optuna cannot search clustering.tolerance: every value would need labels of its own"],
    ),
    "optuna over ends that cannot be": (
        HUBERT
        + "search: optuna\nsamples: 1\naxes:\n  audio.crop_s: {uniform: [0.2, 9.0]}\noverrides: {masking.mask_length: 20}\n",
        6,
        ["cannot be", "narrow the axis, Optuna may choose any of its values"],
    ),
    "optuna over what is left out": (
        HUBERT + "search: optuna\nskip_impossible: true\nsamples: 1\naxes: {optim.peak_lr: {uniform: [0.1, 0.2]}}\n",
        4,
        ["skip_impossible has no effect with search: optuna"],
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
def test_a_mistake_is_refused_with_its_line(refuses, case):
    refuses(*WRONG[case])


def test_two_trials_of_one_name_are_refused(load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/b", "a c", "a b"):
        (tmp_path / name).mkdir(parents=True)
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


def test_a_run_to_begin_from_that_is_not_there_is_missing_data(load):
    with pytest.raises(DataError, match=r"some.yaml:2: init_from=/not/there is not there; name a run or a folder"):
        load("about: x\npreset: music2vec-demo\noverrides: {init_from: /not/there}\n")


def test_an_encoder_that_is_not_there_is_missing_data(load):
    with pytest.raises(DataError, match=r"some.yaml:2: no encoder at nowhere"):
        load("about: x\npreset: musichubert-k2000-iter2\noverrides: {feature.encoder: nowhere}\n")
