"""From a file to its trials."""

import pickle
from itertools import product

import pytest

from ray_musicssl.config.loading import load_config
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import ConfigError
from ray_musicssl.reporting.paper import NINE_TASKS
from ray_musicssl.search_space.metric import Metric
from ray_musicssl.search_space.naming import axis_word
from ray_musicssl.search_space.setting import Setting
from ray_musicssl.search_space.trial import LabelNeed, Resources

GRID = """
    about: x
    preset: music2vec-demo
    overrides: {training.max_steps: 7}
    axes:
      masking.mask_prob: {grid: [0.5, 0.65]}
      optim.peak_lr: {loguniform: [1e-4, 1e-3]}
    variants:
      plain: {}
      long: {audio.crop_s: 2.5}
    samples: 3
    seeds: [0, 4]
    tasks: [gtzan_genre]
"""
ITERATIONS = """
    about: x
    variants:
      third: {preset: musichubert-k2000-iter2, after: second, optim.peak_lr: 1e-3}
      second: {preset: musichubert-k2000-iter2, after: first}
      first: {preset: musichubert-k2000-mfcc39}
    axes: {masking.mask_length: {grid: [5, 10]}}
    seeds: [1, 2]
"""


def names(space):
    return [trial.name for trial in space.trials]


def test_trials_are_variants_times_grid_times_draws_times_seeds(load):
    space = load(GRID)
    lrs = dict.fromkeys(trial.point["optim.peak_lr"] for trial in space.trials)
    assert len(lrs) == 3
    wanted = product(("plain", "long"), (0.5, 0.65), lrs, (0, 4))
    assert names(space) == [f"{v}-prob{p}-lr{lr:.10g}-seed{s}" for v, p, lr, s in wanted]


def test_every_trial_is_what_its_words_give_on_the_command_line(load):
    space = load(GRID)
    for trial in space.trials:
        typed = load_config(PretrainConfig, preset=trial.preset, scale=trial.scale, overrides=trial.overrides)
        assert typed == trial.config
    trial = space.trials[-1]
    assert trial.overrides[:2] == ("training.max_steps=7", "audio.crop_s=2.5")
    assert trial.overrides[-1] == "training.seed=4"
    assert (trial.config.training.seed, trial.config.masking.mask_prob) == (4, 0.65)


def test_a_file_without_variants_names_trials_after_their_axes_or_its_preset(load):
    axes = "axes: {masking.mask_prob: {grid: [0.65]}, masking.mask_length: {grid: [10]}, audio.crop_s: {grid: [5.0]}}"
    assert names(load(f"about: x\npreset: music2vec-vanilla\n{axes}\n")) == ["prob0.65-span10-crop5"]
    assert names(load("about: x\npreset: music2vec-vanilla\n")) == ["music2vec-vanilla"]
    assert names(load("about: x\npreset: music2vec-vanilla\nseeds: [3]\n")) == ["music2vec-vanilla"]


def test_without_seeds_the_seed_is_the_presets(load):
    (trial,) = load("about: x\npreset: music2vec-vanilla\n").trials
    assert (trial.overrides, trial.config) == ((), load_config(PretrainConfig, preset="music2vec-vanilla"))


def test_a_variant_lies_over_the_overrides_and_the_command_line_over_both(load):
    text = (
        "about: x\npreset: music2vec-demo\noverrides: {training.max_steps: 7}\nvariants: {a: {training.max_steps: 8}}\n"
    )
    assert load(text).trials[0].overrides == ("training.max_steps=8",)
    assert load(text, overrides=["training.max_steps=9"]).trials[0].overrides == ("training.max_steps=9",)


def test_settings_of_the_probe_lie_over_the_files(load):
    text = "about: x\npreset: music2vec-demo\nprobe: {num_seeds: 2, lr: 1e-2}\n"
    probe = load(text, probe_settings=["num_seeds=5"]).probe
    assert (probe.num_seeds, probe.lr, probe.hidden_dim) == (5, 0.01, 512)


def test_what_is_not_said_is_the_papers(load):
    space = load("about: x\npreset: music2vec-demo\n")
    assert (space.tasks, space.metric, space.search, space.scheduler.name) == (NINE_TASKS, Metric(), "random", "none")
    assert (space.name, space.about, space.num_waves, space.left_out) == ("some", "x", 1, ())


@pytest.mark.parametrize(
    ("words", "metric"),
    [("average", Metric()), ("emomusic", Metric(task="emomusic")), ("emomusic.r2", Metric(task="emomusic", name="r2"))],
)
def test_a_metric_is_an_average_a_task_or_one_score_of_it(load, words, metric):
    found = load(f"about: x\npreset: music2vec-demo\nmetric: {words}\n").metric
    assert (found, found.words) == (metric, words)


def test_all_tasks_are_all_that_there_are(load):
    tasks = load("about: x\npreset: music2vec-demo\ntasks: all\n").tasks
    assert set(tasks) > set(NINE_TASKS)


def test_another_variant_value_or_seed_leaves_the_others_as_they_are(load):
    before = {trial.name: trial for trial in load(GRID).trials}
    changes = {
        "plain: {}": "plain: {}\n      other: {masking.mask_length: 4}",
        "[0.5, 0.65]": "[0.4, 0.5, 0.65]",
        "samples: 3": "samples: 5",
        "[0, 4]": "[9, 0, 4]",
    }
    for old, new in changes.items():
        after = {trial.name: trial for trial in load(GRID.replace(old, new)).trials}
        assert len(after) > len(before)
        assert {name: after[name] for name in before} == before


def test_an_identity_is_of_what_is_learned_and_not_of_names_workers_or_places(load, tmp_path):
    text = "about: x\npreset: music2vec-demo\nvariants: {a: {}}\n"
    (trial,) = load(text).trials
    same = [
        text.replace("a:", "b:"),
        text.replace("{}", "{scaling.num_workers: 1}"),
        text.replace("{}", "{training.log_every_steps: 3, clustering.num_clusters: 9}"),
    ]
    other = [
        text.replace("{}", "{masking.mask_prob: 0.5}"),
        text.replace("{}", f"{{init_from: {tmp_path}}}"),
        text.replace("music2vec-demo", "music2vec-small"),
    ]
    assert {load(one).trials[0].identity for one in same} == {trial.identity}
    identities = [load(one).trials[0].identity for one in other]
    assert len({trial.identity, *identities}) == 4


def test_draws_depend_on_the_seed_the_axis_and_the_position_alone(load):
    def draws(text):
        return [trial.point["optim.peak_lr"] for trial in load(text).trials]

    one = "about: x\npreset: music2vec-demo\nsamples: 4\naxes: {optim.peak_lr: {loguniform: [1e-4, 1e-3]}}\n"
    two = one.replace("axes: {", "axes: {masking.mask_prob: {uniform: [0.3, 0.8]}, ")
    assert draws(two) == draws(one)
    assert draws(one.replace("samples: 4", "samples: 2")) == draws(one)[:2]
    assert set(draws(f"{one}seed: 1\n")).isdisjoint(draws(one))


def test_a_child_waits_for_its_parent_at_the_same_point_and_seed(load):
    space = load(ITERATIONS)
    assert space.num_waves == 3
    for number, variant in enumerate(("first", "second", "third")):
        assert {trial.variant for trial in space.wave(number)} == {variant}
    parents = {trial.name: trial.after for trial in space.trials if trial.after}
    points = [f"span{span}-seed{seed}" for span, seed in product((5, 10), (1, 2))]
    chain = (("second", "first"), ("third", "second"))
    assert parents == {f"{child}-{p}": f"{parent}-{p}" for child, parent in chain for p in points}
    assert {trial.after for trial in space.wave(0)} == {""}


def test_a_parents_settings_are_part_of_its_childs_identity(load):
    before = load(ITERATIONS).trial("third-span5-seed1")
    after = load(ITERATIONS.replace("mfcc39}", "mfcc39, training.max_steps: 9}")).trial("third-span5-seed1")
    assert before.config == after.config
    assert before.identity != after.identity
    assert before.labels[0].key != after.labels[0].key


def test_the_encoder_of_a_childs_targets_is_filled_in(load):
    space = load(ITERATIONS)
    config = space.trial("second-span5-seed1").config_after("runs/first")
    assert config.feature.model_dump() == {"name": "hidden", "encoder": "runs/first", "layer": 6, "encoder_hash": ""}
    first = space.trial("first-span5-seed1")
    assert first.config_after("runs/x") == first.config


def test_codebooks_are_named_once_for_all_trials_that_share_them(load):
    space = load("""
        about: x
        variants:
          a: {preset: musichubert-k2000-mfcc39}
          b: {preset: musichubert-k2000-mfcc39, audio.crop_s: 5}
          c: {preset: musichubert-k500-mfcc60}
          d: {preset: musichubert-k2000-iter2, after: a}
          e: {preset: musichubert-k2000-iter2, after: a, masking.mask_prob: 0.5}
          f: {preset: musichubert-k2000-iter2, after: b}
          g: {preset: music2vec-vanilla}
    """)
    titles = ["mfcc39, k=2000", "mfcc60, k=500", "layer 6 of a, k=2000", "layer 6 of b, k=2000"]
    assert [need.title for need in space.labels()] == titles
    assert [need.title for need in space.labels(space.wave(0))] == titles[:2]
    assert space.trial("d").labels == space.trial("e").labels
    assert space.trial("g").labels == ()
    assert [need.trial for need in space.labels()] == ["", "", "a", "b"]


def test_every_head_has_its_labels_and_a_residual_follows_the_one_before(load):
    (trial,) = load("""
        about: x
        preset: musichubert-k500-mfcc39
        overrides: {joint_features: [{name: residual}, {name: residual}]}
    """).trials
    first, second, third = trial.labels
    assert isinstance(first, LabelNeed)
    assert (first.follows, second.follows, third.follows) == ("", first.key, second.key)
    assert len({first.key, second.key, third.key}) == 3


def test_resources_are_the_workers(load):
    assert load("about: x\npreset: music2vec-vanilla\n").trials[0].resources == Resources(
        num_workers=8, cpus_per_worker=0.5, gpus_per_worker=1.0
    )
    in_process = load("about: x\npreset: music2vec-vanilla\noverrides: {scaling.num_workers: 0}\n").trials[0].resources
    assert (in_process.num_workers, in_process.gpus_per_worker) == (0, 0.0)
    text = "about: x\npreset: music2vec-demo\noverrides: {scaling.num_workers: 1, scaling.threads_per_worker: 4}\n"
    assert load(text).trials[0].resources == Resources(num_workers=1, cpus_per_worker=2.0, gpus_per_worker=0.0)


def test_the_audio_of_a_step_does_not_depend_on_the_crop(load):
    space = load("about: x\npreset: music2vec-vanilla\naxes: {audio.crop_s: {grid: [2.5, 5, 10, 20]}}\n")
    assert [trial.step_s for trial in space.trials] == [3800.0] * 4


def test_impossible_combinations_are_left_out_and_named_if_the_file_says_so(load):
    text = """
        about: x
        preset: music2vec-vanilla
        axes: {audio.crop_s: {grid: [0.25, 5.0]}, masking.mask_length: {grid: [5, 20]}}
        variants:
          a: {}
          b: {audio.micro_batch_s: 120.0, optim.peak_lr: 0.1}
    """
    with pytest.raises(ConfigError, match="skip_impossible"):
        load(text)
    space = load(f"{text}\n        skip_impossible: true\n")
    assert names(space) == [f"{v}-{p}" for v in "ab" for p in ("crop0.25-span5", "crop5-span5", "crop5-span20")]
    assert [left.name for left in space.left_out] == ["a-crop0.25-span20", "b-crop0.25-span20"]
    assert "is longer than a crop" in space.left_out[0].reason


def test_a_child_of_a_trial_that_is_left_out_is_left_out_too(load):
    space = load("""
        about: x
        skip_impossible: true
        variants:
          a: {preset: musichubert-k2000-mfcc39, clustering.max_frames: 1000}
          b: {preset: musichubert-k2000-iter2, after: a}
          c: {preset: musichubert-k500-mfcc39}
    """)
    assert names(space) == ["c"]
    assert [(left.name, "waits for a, which is left out" in left.reason) for left in space.left_out] == [
        ("a", False),
        ("b", True),
    ]


def test_a_space_of_nothing_possible_is_refused(load):
    text = "about: x\npreset: music2vec-vanilla\nskip_impossible: true\noverrides: {objective.top_k: 13}\n"
    with pytest.raises(ConfigError, match=r"no combination can be trained: .* is above encoder.num_layers=12"):
        load(text)


def test_a_wrong_value_is_refused_even_if_impossible_ones_are_skipped(load):
    with pytest.raises(ConfigError, match=r"some.yaml:4: masking.mask_prob = 2"):
        load("about: x\nskip_impossible: true\npreset: music2vec-demo\naxes: {masking.mask_prob: {grid: [0.5, 2]}}\n")


def test_a_suggestion_of_optuna_is_a_trial_whose_name_says_its_values(load):
    space = load("""
        about: x
        preset: music2vec-demo
        search: optuna
        samples: 2
        axes: {optim.peak_lr: {loguniform: [1e-4, 1e-3]}, masking.mask_prob: {uniform: [0.3, 0.8]}}
    """)
    trial = space.suggested({"masking.mask_prob": 0.4567891, "optim.peak_lr": 0.000123456})
    assert trial.name == "lr0.000123456-prob0.4567891"
    assert trial.overrides == ("optim.peak_lr=0.000123456", "masking.mask_prob=0.4567891")
    assert trial.config.masking.mask_prob == 0.4567891


def test_a_variant_without_a_word_is_the_preset_and_numbers_below_zero_have_names_of_their_own(load):
    text = "about: x\npreset: music2vec-demo\nvariants:\n  plain:\n  other: {masking.mask_prob: 0.5}\n"
    plain, _ = load(text).trials
    assert (plain.name, plain.overrides) == ("plain", ())
    assert [axis_word(Setting(key="training.seed", value=value)) for value in (3, -3)] == ["seed3", "seed-3"]


def test_a_space_travels_between_processes(load):
    space = load(ITERATIONS)
    assert pickle.loads(pickle.dumps(space)) == space  # noqa: S301  (bytes of our own)
