"""The README's commands are commands: every `musicssl` line parses, and what it names exists."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from ray_musicssl.cli import COMMANDS, app
from ray_musicssl.config.loading import load_config, preset_names
from ray_musicssl.config.pretrain import KmeansConfig, PretrainConfig

ROOT = Path(__file__).parents[2]
GROUP = typer.main.get_command(app)
PAGES = ("README.md", "CONTRIBUTING.md", "jobs/README.md", "cluster/README.md")


def code_lines(page):
    # Blocks of every language are matched, so that the end of one is never taken for the beginning of the next.
    for language, block in re.findall(r"```(\w*)\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        if language in {"", "sh", "bash", "console"}:
            yield from block.replace("\\\n", " ").splitlines()


def musicssl_lines():
    lines = [line.split("#")[0].strip() for page in PAGES for line in code_lines(page)]
    return sorted({line for line in lines if line.startswith("musicssl ")})


def parse(line):
    words = shlex.split(line)[1:]
    command = GROUP.commands[words[0]]
    return words[0], command.make_context(words[0], words[1:])


@pytest.mark.parametrize("line", musicssl_lines())
def test_every_command_line_parses(line):
    name, context = parse(line)
    overrides = context.params.get("overrides") or ()
    if name == "pretrain":
        load_config(PretrainConfig, preset=context.params["preset"], overrides=overrides)
    if name == "kmeans":
        load_config(KmeansConfig, preset=context.params["preset"], overrides=overrides)


def test_the_check_can_fail():
    with pytest.raises(typer.BadParameter.__mro__[1]):
        parse("musicssl prepare --odio x --out y")


def test_the_readme_shows_every_stage_a_user_types():
    shown = {line.split()[1] for line in musicssl_lines()}
    assert set(COMMANDS) - {"demo", "demo-data", "submit", "tasks", "presets"} <= shown


def test_presets_named_in_prose_exist():
    text = "\n".join((ROOT / page).read_text() for page in PAGES)
    named = set(re.findall(r"\b(?:musichubert|music2vec)-[a-z0-9-]+\b", text))
    assert named <= set(preset_names())


def test_the_tree_in_the_readme_is_the_tree():
    tree = (ROOT / "README.md").read_text().split("## The tree")[1].split("```")[1]
    names = [
        name.rstrip(",") for line in tree.splitlines() for name in re.findall(r"^\s*((?:[\w.]+/?,? ?)+?)\s{2,}", line)
    ]
    for name in " ".join(names).replace(",", " ").split():
        assert list(ROOT.glob(name)) or list((ROOT / "ray_musicssl").glob(name)) or name == "ray_musicssl/", name


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
        if "://" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), target
