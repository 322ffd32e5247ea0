"""The job scripts: one call each, one documented line each, one a stage."""

import ast
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
JOBS = ROOT / "jobs"
STAGES = ("embed", "kmeans", "label", "pipeline", "prepare", "pretrain", "probe", "report", "tune")
PREFIX = "ray job submit --working-dir . -- python "


def faults(source: str, stage: str) -> list[str]:
    """What a job script does that a job script must not do."""
    tree = ast.parse(source)
    found = []
    docstring = ast.get_docstring(tree) or ""
    if f"{PREFIX}jobs/{stage}.py" not in docstring:
        found.append("no submit line")
    body = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)][1:]
    if [ast.unparse(node) for node in body] != [
        f"if __name__ == '__main__':\n    main(['{stage}', *sys.argv[1:]])",
    ]:
        found.append("not one guarded call of the command line")
    return found


def test_every_stage_of_a_cluster_has_a_job_and_nothing_else_does():
    assert tuple(sorted(path.stem for path in JOBS.glob("*.py"))) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_a_job_is_its_submit_line_and_one_call(stage):
    assert faults((JOBS / f"{stage}.py").read_text(), stage) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("jobs/probe.py", "probe.py"), "no submit line"),
        (("if __name__", "print(1)\n\nif __name__"), "not one guarded call of the command line"),
        (('["probe"', '["report"'), "not one guarded call of the command line"),
    ],
)
def test_the_check_of_jobs_can_fail(change, fault):
    source = (JOBS / "probe.py").read_text().replace(*change)
    assert fault in faults(source, "probe")


def documented_lines(text: str) -> list[list[str]]:
    return sorted(shlex.split(line) for line in text.splitlines() if line.startswith(PREFIX))


def test_the_readme_gives_each_line_as_the_script_does():
    scripts = sorted(line for stage in STAGES for line in documented_lines((JOBS / f"{stage}.py").read_text()))
    assert len(scripts) == len(STAGES)
    assert documented_lines((JOBS / "README.md").read_text()) == scripts


@pytest.mark.parametrize("stage", STAGES)
def test_a_documented_line_uses_words_that_the_command_line_knows(stage):
    pytest.importorskip("ray_musicssl.cli")
    (line,) = documented_lines((JOBS / f"{stage}.py").read_text())
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1"}
    script = [sys.executable, f"jobs/{stage}.py", "--help"]
    shown = subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert shown.returncode == 0, shown.stderr
    unknown = [word for word in line if word.startswith("--") and word not in ("--", "--working-dir")]
    assert [word for word in unknown if word not in shown.stdout] == []
