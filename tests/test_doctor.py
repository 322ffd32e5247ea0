"""Findings on crafted machines."""

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from ray_musicssl import doctor
from ray_musicssl.doctor import cluster, machine, packages
from ray_musicssl.doctor.finding import Finding, at_least, judge


def fake_usage(monkeypatch: pytest.MonkeyPatch, *, free: float, total: float = 1e12) -> None:
    usage = SimpleNamespace(free=int(free), total=int(total), used=int(total - free))
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)


@pytest.mark.parametrize(("free_gb", "status"), [(100, "ok"), (10, "warn"), (1, "fail")])
def test_disk_is_graded_by_what_is_free(monkeypatch, tmp_path, free_gb, status):
    fake_usage(monkeypatch, free=free_gb * 1e9)
    finding = machine.disk(tmp_path / "not" / "yet" / "there")
    assert (finding.status, finding.found) == (status, f"{free_gb:.1f} GB free at {tmp_path}")
    assert bool(finding.remedy) == (status != "ok")


@pytest.mark.parametrize(("free", "status"), [(51e9, "ok"), (49e9, "fail")])
def test_a_disk_above_95_percent_fails_however_large_it_is(monkeypatch, free, status):
    fake_usage(monkeypatch, free=free, total=1e12)
    finding = cluster.disk_for_ray()
    assert finding.status == status
    assert "RAY_TMPDIR" in finding.remedy or status == "ok"


def test_little_shared_memory_warns_with_the_containers_remedy(monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda path: True)
    fake_usage(monkeypatch, free=64e6)
    assert (machine.shared_memory().status, "--shm-size" in machine.shared_memory().remedy) == ("warn", True)


@pytest.mark.parametrize(("room", "status"), [(float("inf"), "ok"), (3e9, "warn"), (1e9, "fail")])
def test_memory_is_what_machine_and_container_both_leave(monkeypatch, room, status):
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=64e9))
    monkeypatch.setattr(machine, "_container_room_bytes", lambda: room)
    assert machine.memory().status == status


def test_one_core_warns_and_few_files_warn(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    assert machine.cores().status == "warn"
    monkeypatch.setattr("resource.getrlimit", lambda what: (256, 1024))
    assert (machine.open_files().status, machine.open_files().found) == ("warn", "256, hard 1024")


def test_a_directory_that_cannot_be_written_fails(monkeypatch, tmp_path):
    assert machine.writable(tmp_path / "new").status == "ok"

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert machine.writable(tmp_path).status == "fail"


def test_this_environment_satisfies_the_pins():
    assert [finding.check for finding in packages.package_versions()] == ["packages"]
    assert packages.python_version().status == "ok"


def fake_versions(monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]) -> None:
    real: Callable[[str], str] = metadata.version

    def version(name: str) -> str:
        if changed.get(name) == "absent":
            raise metadata.PackageNotFoundError(name)
        return changed.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)


def test_a_wrong_and_an_absent_package_are_named_with_their_pins(monkeypatch):
    fake_versions(monkeypatch, {"ray": "2.53.0", "soxr": "absent"})
    found = {finding.check: finding for finding in packages.package_versions()}
    assert (found["package ray"].found, found["package ray"].needed) == ("2.53.0", "==2.60.*")
    assert found["package ray"].remedy == "python -m pip install 'ray[data,default,train,tune]==2.60.*'"
    assert found["package soxr"].found == "absent"
    assert {found["package ray"].status, found["package soxr"].status} == {"fail"}


def test_the_pins_come_from_the_checkout_if_there_is_one(monkeypatch, tmp_path):
    project = '[project]\nrequires-python = ">=3.99"\ndependencies = ["numpy>=1", "no-such-package==1.*"]\n'
    (tmp_path / "pyproject.toml").write_text(project)
    monkeypatch.setattr(packages, "CHECKOUT_PATH", tmp_path / "pyproject.toml")
    assert [finding.check for finding in packages.package_versions()] == ["package no-such-package", "packages"]
    assert packages.python_version().status == "fail"


def test_the_pins_come_from_the_installed_package_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(packages, "CHECKOUT_PATH", tmp_path / "none.toml")
    fake_versions(monkeypatch, {"torch": "1.0"})
    assert "package torch" in [finding.check for finding in packages.package_versions()]
    assert packages.python_version().status == "ok"


@pytest.mark.parametrize(
    ("torch", "torchaudio", "status"),
    [("2.11.0", "2.11.0", "ok"), ("2.11.0+cpu", "2.11.0", "fail"), ("2.11.0+cpu", "2.11.0+cpu", "ok")],
)
def test_a_cpu_only_torch_beside_an_ordinary_torchaudio_fails(monkeypatch, torch, torchaudio, status):
    fake_versions(monkeypatch, {"torch": torch, "torchaudio": torchaudio})
    assert packages.torch_build().status == status


def test_a_pair_that_does_not_import_fails_with_the_last_line_of_its_error(monkeypatch):
    broken = SimpleNamespace(returncode=1, stdout="", stderr="Traceback\nOSError: undefined symbol\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: broken)
    (finding,) = packages.torch_pair()
    assert (finding.status, finding.found) == ("fail", "OSError: undefined symbol")


def test_a_pair_that_takes_too_long_only_warns(monkeypatch):
    def slow(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("python", 8)

    monkeypatch.setattr(subprocess, "run", slow)
    assert packages.torch_pair()[0].status == "warn"


def test_missing_decoders_are_named(monkeypatch):
    monkeypatch.setattr("soundfile.available_formats", lambda: {"WAV": "", "FLAC": "", "OGG": ""})
    monkeypatch.setattr("soundfile.available_subtypes", lambda _: {"VORBIS": ""})
    finding = packages.sound_formats()
    assert (finding.status, finding.found.split(" without ")[1]) == ("warn", "MP3, OPUS")


def test_a_port_in_use_warns_and_a_free_one_does_not(monkeypatch):
    with socket.socket() as busy, socket.socket() as closed:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        closed.bind(("127.0.0.1", 0))  # bound but not listening: nothing answers
        monkeypatch.setattr(cluster, "HEAD_PORTS", (busy.getsockname()[1], closed.getsockname()[1]))
        assert [finding.status for finding in cluster.ports()] == ["warn", "ok"]


def test_a_cluster_in_the_environment_is_tried(monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    assert cluster.cluster_address() == []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", f"http://127.0.0.1:{port}/")
        assert [finding.status for finding in cluster.cluster_address()] == ["ok", "ok"]
    assert [finding.status for finding in cluster.cluster_address()] == ["fail", "fail"]
    assert cluster.cluster_address()[0].remedy.endswith("unset RAY_ADDRESS")


@pytest.mark.parametrize("address", ["auto", "local", ""])
def test_an_address_that_names_no_host_is_not_tried(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    assert cluster.cluster_address() == []


@pytest.mark.parametrize(("mode", "status"), [(0o600, "ok"), (0o644, "warn"), (0o640, "warn")])
def test_a_token_that_others_can_read_warns_and_is_not_shown(monkeypatch, tmp_path, mode, status):
    token = tmp_path / "token"
    token.write_text("hunter2")
    token.chmod(mode)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    finding = cluster.token_file()
    assert (finding.status, finding.remedy) == (status, "" if status == "ok" else f"chmod 600 {token}")
    assert "hunter2" not in str(finding)


def test_a_named_token_that_is_not_there_fails_and_disabled_auth_warns(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert cluster.token_file().status == "fail"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert cluster.token_file().status == "warn"


def test_a_long_directory_for_rays_sockets_fails(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    assert cluster.socket_path().status == "ok"
    longest = cluster.SOCKET_PATH_MOST - len(cluster.LONGEST_SOCKET) - 1
    monkeypatch.setenv("RAY_TMPDIR", "/" + "x" * (longest - 1))
    assert cluster.socket_path().status == "ok"
    monkeypatch.setenv("RAY_TMPDIR", "/" + "x" * longest)
    assert cluster.socket_path().status == "fail"


def test_grades_have_sharp_edges():
    assert [at_least(value, least=2, good=5) for value in (1.9, 2, 4.9, 5)] == ["fail", "warn", "warn", "ok"]
    assert judge("a", "ok", "x", "y", "do z").remedy == ""


def test_the_table_ends_with_the_worst_and_shows_brackets_as_they_are():
    findings = [judge("bad", "fail", "[x]", "y", "pip install 'ray[default]'"), judge("good", "ok", "x", "y")]
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(doctor.findings_table(findings))
    lines = console.export_text().splitlines()
    assert lines[-1].split() == ["bad", "fail", "[x]", "y", "pip", "install", "'ray[default]'"]


@pytest.mark.slow
def test_a_whole_diagnosis_is_json_and_needs_no_torch_or_ray_here():
    code = (
        "import json, sys; from pathlib import Path; from ray_musicssl import doctor;"
        "found = [finding.as_dict() for finding in doctor.diagnose(Path('.'))];"
        "print(json.dumps([found, sorted({'ray', 'torch'} & set(sys.modules))]))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    findings, heavy = json.loads(shown.stdout)
    assert heavy == []
    assert {tuple(finding) for finding in findings} == {tuple(Finding.__dataclass_fields__)}
    assert len(findings) >= 16
