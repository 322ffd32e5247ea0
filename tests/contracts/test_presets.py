"""The paper's models as presets: which there are, what each changes, and that each runs in miniature."""

import re
from pathlib import Path

import pytest

from ray_musicssl.config.feature import CqtConfig
from ray_musicssl.config.loading import differences, load_config, preset_base, preset_delta, preset_names
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.reporting.paper import PRESET_ROWS

BASES = ("musichubert-k2000-mfcc39", "music2vec-vanilla")
# What the paper changes from each table's first row, and nothing else. Source: Ma et al. 2023, tables 2 and 3.
VARIANTS = {
    "musichubert-k2000-iter2": {"feature"},
    "musichubert-k500-mfcc39": {"clustering.num_clusters": 500},
    "musichubert-k500-mfcc60": {"clustering.num_clusters": 500, "feature.num_coefficients": 20},
    "music2vec-span5": {"masking.mask_length": 5},
    "music2vec-span15": {"masking.mask_length": 15},
    "music2vec-prob50": {"masking.mask_prob": 0.5},
    "music2vec-prob80": {"masking.mask_prob": 0.8},
    # The last two keep the teacher's ramp at 30,000 steps and the guards' start at 5,000.
    "music2vec-step800k": {
        "training.max_steps": 800_000,
        "objective.ema_ramp_fraction": 30_000 / 800_000,
        "objective.guard_after_fraction": 5_000 / 800_000,
    },
    "music2vec-target12": {"objective.top_k": 12},
    "music2vec-crop5s": {"audio.crop_s": 5.0},
}
HERE = [name for name in (*BASES, *VARIANTS) if name in preset_names()]
UNTOUCHED = ("feature", "joint_features", "objective", "masking", "optim")  # by a scale


def test_the_presets_have_the_papers_names():
    assert set(PRESET_ROWS) == {*BASES, *VARIANTS}
    others = {name for name in preset_names() if name not in PRESET_ROWS}
    assert {name for name in others if not name.endswith(("-demo", "-small"))} == {"musichubert-harmonic"}


def test_the_harmonic_preset_differs_from_the_papers_in_its_targets_alone():
    assert preset_base("musichubert-harmonic") == BASES[0]
    base, harmonic = (load_config(PretrainConfig, preset=name) for name in (BASES[0], "musichubert-harmonic"))
    assert harmonic.feature == CqtConfig()
    assert {field.split(".")[0] for field in differences(base, harmonic)} == {"feature"}


@pytest.mark.parametrize("name", [name for name in HERE if name in VARIANTS])
def test_a_model_differs_from_its_base_in_what_the_paper_changes(name):
    base = BASES[0] if name.startswith("musichubert") else BASES[1]
    assert preset_base(name) == base
    found = differences(load_config(PretrainConfig, preset=base), load_config(PretrainConfig, preset=name))
    wanted = VARIANTS[name]
    if isinstance(wanted, dict):
        assert {field: new for field, (_, new) in found.items()} == wanted
    else:  # another target feature altogether
        assert {field.split(".")[0] for field in found} == wanted


@pytest.mark.parametrize("name", HERE)
def test_a_model_is_at_the_papers_scale(name):
    config = load_config(PretrainConfig, preset=name)
    assert (config.scaling.num_workers, config.scaling.use_gpu) == (8, True)
    assert (config.encoder.num_layers, config.encoder.dim) == (12, 768)
    assert config.training.max_steps == (800_000 if name.endswith("800k") else 400_000)
    # Source: fairseq's recipes: 32 x 1.4M and 16 x 3.8M samples in a step.
    assert config.audio.batch_s == (2800.0 if name.startswith("musichubert") else 3800.0)


@pytest.mark.parametrize("name", HERE)
def test_the_gpus_of_a_model_are_hardly_ever_idle(name):
    audio = load_config(PretrainConfig, preset=name).audio
    rounds = -(-audio.num_micro_batches // 8)
    assert rounds == (4 if name.startswith("musichubert") else 2)  # fairseq's update_freq for this batch on 8 GPUs
    assert audio.batch_clips / (rounds * 8 * audio.micro_batch_clips) > 0.9


def test_the_recipes_are_the_references():
    hubert, music2vec = (load_config(PretrainConfig, preset=name) for name in BASES)
    steps = hubert.training.max_steps
    assert (hubert.optim.schedule, hubert.optim.warmup_fraction * steps, hubert.optim.clip_norm) == ("linear", 32e3, 10)
    assert (hubert.masking.mask_prob, hubert.masking.mask_length, hubert.masking.min_masks) == (0.8, 10, 2)
    optim = music2vec.optim
    assert (optim.schedule, optim.warmup_fraction * steps, optim.hold_fraction * steps) == ("tristage", 12e3, 360e3)
    assert (optim.init_scale, optim.final_scale, optim.clip_norm) == (0.01, 0.01, 0)
    assert (music2vec.masking.mask_prob, music2vec.masking.mask_length, music2vec.masking.min_masks) == (0.65, 10, 1)
    for config in (hubert, music2vec):
        assert (config.optim.peak_lr, config.optim.betas, config.optim.eps) == (5e-4, (0.9, 0.98), 1e-6)


@pytest.mark.parametrize("name", preset_names())
def test_a_scale_leaves_objective_masking_targets_and_recipe_alone(name):
    own = load_config(PretrainConfig, preset=name)
    small = load_config(PretrainConfig, preset=name, scale="demo")
    changed = {field.split(".")[0] for field in differences(own, small)}
    assert changed & set(UNTOUCHED) == set()
    assert small.encoder.num_layers == own.encoder.num_layers
    assert small.scaling.num_workers <= 2
    assert not small.scaling.use_gpu


def test_what_the_paper_varies_keeps_its_ratio_in_the_demo_scale():
    def small(name):
        return load_config(PretrainConfig, preset=name, scale="demo")

    vanilla, hubert = small("music2vec-vanilla"), small("musichubert-k2000-mfcc39")
    assert small("music2vec-crop5s").audio.crop_s == vanilla.audio.crop_s / 6
    assert small("music2vec-crop5s").audio.batch_s == vanilla.audio.batch_s
    assert small("music2vec-step800k").training.max_steps == 2 * vanilla.training.max_steps
    assert small("musichubert-k500-mfcc39").clustering.num_clusters * 4 == hubert.clustering.num_clusters
    assert small("music2vec-target12").objective.top_k == vanilla.encoder.num_layers


@pytest.mark.slow
@pytest.mark.parametrize("name", HERE)
def test_a_model_trains_in_miniature(name, make_shards, tmp_path):
    from ray_musicssl.on_ray.pretrain import pretrain
    from ray_musicssl.run_dir import RunDir
    from ray_musicssl.training.label_choice import choose_labels
    from ray_musicssl.training.metrics_log import read_metrics

    overrides = ["training.max_steps=2", "training.log_every_steps=1", "scaling.num_workers=0", "audio.batch_s=6"]
    if name.endswith("iter2"):  # labels that name the weights they came from can be trained on without these
        overrides.append("feature.encoder_hash=0123456789abcdef")
    config = load_config(PretrainConfig, preset=name, scale="demo", overrides=overrides)
    label_sets = [
        {
            "feature": kmeans.feature.model_dump(mode="json"),
            "frame_rate": 100.0 if kmeans.feature.name == "mfcc" else 50.0,
            "num_clusters": kmeans.clustering.num_clusters,
        }
        for kmeans in config.label_configs
    ]
    shards = make_shards(tmp_path / "shards", seconds=[6.0] * 4, label_sets=label_sets)
    checkpoint = pretrain(config, shards, RunDir(tmp_path / "run"), labels=choose_labels(config, shards))
    assert checkpoint.step == 2
    assert checkpoint.config.scale == "demo"
    losses = [line["pretrain/masked_loss"] for line in read_metrics(tmp_path / "run/metrics.jsonl")]
    assert len(losses) == 2
    assert all(0 < loss < 100 for loss in losses)


def test_the_readme_lists_them_with_the_papers_averages():
    text = (Path(__file__).parents[2] / "README.md").read_text()
    rows = dict(re.findall(r"^\| `([\w-]+)` \|.*\| ([\d.]+) \|$", text, re.MULTILINE))
    assert set(HERE) <= set(rows)
    assert rows == {name: f"{PRESET_ROWS[name].average:.1f}" for name in rows}


@pytest.mark.parametrize("name", [name for name in HERE if name in VARIANTS])
def test_a_preset_file_holds_only_what_differs(name):
    whole = load_config(PretrainConfig, preset=preset_base(name)).model_dump(mode="json")
    delta = {key: value for key, value in preset_delta(name).items() if key not in {"about", "extends"}}
    for section, fields in delta.items():
        same = {key for key, value in fields.items() if key != "name" and whole[section].get(key) == value}
        assert same == set(), f"{section}: {same} is as in the base"
