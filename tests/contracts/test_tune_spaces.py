"""The search spaces that ship: what they promise by their names."""

import re
import time
from itertools import product
from pathlib import Path

import pytest

from ray_musicssl.config.loading import differences, load_config
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.reporting.paper import NINE_TASKS, PRESET_ROWS
from ray_musicssl.search_space.space import load_space

ROOT = Path(__file__).parents[2]
SPACES = {path.stem: path for path in sorted((ROOT / "tune_spaces").glob("*.yaml"))}
TABLES = {"musichubert_table2": 2, "music2vec_table3": 3, "table2_mini": 2, "table3_mini": 3}
PAPERS = {"table2_mini": "musichubert_table2", "table3_mini": "music2vec_table3"}
AXES = ("masking.mask_length", "masking.mask_prob", "clustering.num_clusters", "audio.crop_s")


def rows_of(table):
    return {name for name, row in PRESET_ROWS.items() if row.table == table}


def values(config, key):
    for part in key.split("."):
        config = getattr(config, part)
    return config


def test_the_named_spaces_ship():
    assert set(SPACES) >= {"ablation_grid", "musichubert_table2", "music2vec_table3", "learning_rate", "demo"}


@pytest.mark.parametrize("name", SPACES)
def test_a_space_is_resolved_well_within_two_seconds(name):
    started = time.process_time()
    space = load_space(SPACES[name])
    assert time.process_time() - started < 1.5
    assert space.trials
    assert space.left_out == ()


@pytest.mark.parametrize(("name", "table"), TABLES.items())
def test_a_table_has_exactly_the_papers_rows(name, table):
    space = load_space(SPACES[name])
    assert {trial.preset for trial in space.trials} == rows_of(table)
    assert len(space.trials) == {2: 4, 3: 8}[table]
    assert space.tasks == NINE_TASKS


@pytest.mark.parametrize("name", ["musichubert_table2", "music2vec_table3"])
def test_the_rows_at_the_papers_scale_are_the_presets(name):
    for trial in load_space(SPACES[name]).trials:
        assert trial.config == load_config(PretrainConfig, preset=trial.preset)
        assert trial.overrides == ()


@pytest.mark.parametrize("name", ["musichubert_table2", "table2_mini"])
def test_the_second_iteration_learns_from_the_first(name):
    space = load_space(SPACES[name])
    second = space.trial("k2000-iter2")
    assert (second.after, second.wave, second.labels[0].trial) == ("k2000-mfcc39", 1, "k2000-mfcc39")
    assert [trial.wave for trial in space.trials] == [0, 0, 0, 1]


@pytest.mark.parametrize("name", PAPERS)
def test_rows_in_miniature_differ_in_what_the_papers_differ_in(name):
    space = load_space(SPACES[name])
    small, large = ({t.preset: t for t in load_space(SPACES[n]).trials} for n in (name, PAPERS[name]))
    first = next(iter(space.trials)).preset
    for preset, trial in small.items():
        fields = set(differences(small[first].config, trial.config))
        assert fields == set(differences(large[first].config, large[preset].config)), preset


def test_rows_in_miniature_keep_the_papers_ratios():
    hubert, music2vec = (load_space(SPACES[name]) for name in ("table2_mini", "table3_mini"))
    clusters = {trial.name: trial.config.clustering.num_clusters for trial in hubert.trials}
    assert (
        clusters["k2000-mfcc39"]
        == clusters["k2000-iter2"]
        == 4 * clusters["k500-mfcc39"]
        == 4 * clusters["k500-mfcc60"]
    )
    vanilla, longer, short = (music2vec.trial(name).config for name in ("vanilla", "step800k", "crop5s"))
    assert longer.training.max_steps == 2 * vanilla.training.max_steps
    assert longer.objective.ema_ramp_fraction * 2 == vanilla.objective.ema_ramp_fraction
    assert longer.objective.guard_after_fraction * 2 == vanilla.objective.guard_after_fraction
    assert short.audio.crop_s * 6 == vanilla.audio.crop_s
    assert {trial.step_s for trial in music2vec.trials} == {12.0}


def test_the_grid_is_the_product_of_the_four_axes_at_the_papers_scale():
    space = load_space(SPACES["ablation_grid"])
    listed = {axis.key: axis.values for axis in space.axes}
    assert tuple(listed) == AXES
    points = [tuple(trial.point.values()) for trial in space.trials]
    assert points == list(product(*listed.values()))
    for trial in space.trials:
        assert tuple(values(trial.config, key) for key in AXES) == tuple(trial.point.values())
        assert (trial.config.encoder.dim, trial.config.training.max_steps) == (768, 400_000)
        assert trial.step_s == pytest.approx(2800, rel=0.002)
    assert len(space.labels()) == 2


def test_the_demo_is_eight_variants_over_the_four_axes_with_two_probes():
    space = load_space(SPACES["demo"])
    assert len(space.trials) == 8
    assert all(trial.name == trial.variant for trial in space.trials)
    assert space.tasks == ("gtzan_genre", "giantsteps_key")
    bases = {"musichubert-demo": space.trial("hubert"), "music2vec-demo": space.trial("music2vec")}
    changed = [differences(bases[t.preset].config, t.config) for t in space.trials if t not in bases.values()]
    assert all(len(fields) == 1 for fields in changed)
    assert {field for fields in changed for field in fields} == set(AXES)
    assert {trial.resources.num_workers for trial in space.trials} == {1}


def test_learning_rates_are_drawn_and_bad_ones_stopped():
    space = load_space(SPACES["learning_rate"])
    (axis,) = space.axes
    assert (axis.key, axis.kind, space.scheduler.name) == ("optim.peak_lr", "loguniform", "asha")
    assert len({trial.config.optim.peak_lr for trial in space.trials}) == len(space.trials) == 12


def test_the_readmes_example_is_a_search_space(tmp_path):
    (example,) = re.findall(r"```yaml\n(about: .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    path = tmp_path / "example.yaml"
    path.write_text(example)
    assert len(load_space(path).trials) == 3 * 4 * 2 * 2


def test_the_readme_names_every_space():
    text = (ROOT / "README.md").read_text().split("## Sweeps")[1].split("\n## ")[0]
    assert [name for name in SPACES if f"`{name}`" not in text] == []
