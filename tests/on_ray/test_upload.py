"""What a job takes along: all it needs, and no secret."""

import shutil
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")

from ray._private.ray_constants import get_runtime_env_default_excludes
from ray._private.runtime_env.packaging import create_package

from ray_musicssl.errors import ConfigError
from ray_musicssl.on_ray import upload as uploading

ROOT = Path(__file__).parents[2]
CODE = (
    *("jobs/pretrain.py", "ray_musicssl/__init__.py", "ray_musicssl/audio/shard.py", "tune_spaces/mask.yaml"),
    "README.md",
)
PLANTED = (
    *(".env", ".env.local", "conf/.env", ".netrc", ".ssh/id_ed25519", ".aws/credentials", ".ray/auth_token", "id_rsa"),
    *("server.pem", "server.KEY".lower(), "keys/tls.p12", "credentials.json", "secrets.yaml", "auth_token", "my.token"),
    *(".git/config", ".venv/bin/python", "ray_musicssl/__pycache__/a.pyc", ".pytest_cache/x"),
    *("demo-run/report.html", "shards/part-00000.parquet", "labels.parquet", "music/a.wav", "music/b.mp3", "c.flac"),
    *("w.safetensors", "data/a.csv", "ignored/by-git.txt"),
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for name in (*CODE, *PLANTED):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / ".gitignore").write_text("/ignored/\n")
    shutil.copy(ROOT / ".rayignore", root)
    return root


def test_secrets_and_data_stay_at_home(checkout):
    sent = uploading.planned_upload(checkout).sizes_bytes
    assert set(sent) == {*CODE, ".gitignore", ".rayignore"}


def test_planted_secrets_are_sent_when_nothing_is_excluded(checkout, monkeypatch):
    monkeypatch.setattr(uploading, "EXCLUDED_NAMES", ())
    (checkout / ".rayignore").unlink()
    sent = uploading.planned_upload(checkout).sizes_bytes
    assert set(sent) == {*CODE, ".gitignore", *PLANTED} - {"ignored/by-git.txt"}


def test_rays_own_packaging_leaves_the_same_files_at_home(checkout, tmp_path):
    package = tmp_path / "package.zip"
    create_package(str(checkout), package, include_gitignore=True, excludes=get_runtime_env_default_excludes())
    with zipfile.ZipFile(package) as archive:
        by_ray = {name for name in archive.namelist() if not name.endswith("/")}
    assert by_ray == set(uploading.planned_upload(checkout).sizes_bytes)


def test_the_rayignore_file_names_every_excluded_pattern():
    lines = set((ROOT / ".rayignore").read_text().splitlines())
    assert set(uploading.EXCLUDED_NAMES) <= lines


def test_capital_letters_hide_no_secret():
    assert uploading.is_excluded("Server.PEM")
    assert not uploading.is_excluded("tokenizer.py")


def test_links_out_of_the_directory_are_not_followed(checkout, tmp_path):
    (tmp_path / "private.txt").write_text("private")
    (checkout / "link.txt").symlink_to(tmp_path / "private.txt")
    (checkout / "linked_dir").symlink_to(tmp_path, target_is_directory=True)
    (checkout / "inside.txt").symlink_to(checkout / "README.md")
    sent = uploading.planned_upload(checkout).sizes_bytes
    assert {"link.txt", "inside.txt"} & set(sent) == {"inside.txt"}
    assert not [name for name in sent if name.startswith("linked_dir")]


def test_the_archive_holds_the_listed_files_and_depends_on_nothing_else(checkout, tmp_path):
    upload = uploading.planned_upload(checkout)
    first = uploading.write_archive(upload, tmp_path / "a.zip").read_bytes()
    (checkout / "README.md").touch()
    second = uploading.write_archive(upload, tmp_path / "b.zip")
    assert second.read_bytes() == first
    with zipfile.ZipFile(second) as archive:
        assert {name: archive.read(name).decode() for name in CODE} == {name: name for name in CODE}
        assert archive.namelist() == list(upload.sizes_bytes)


def test_too_much_is_refused_and_the_largest_file_named(checkout):
    with (checkout / "notes.bin").open("wb") as file:
        file.truncate(uploading.MAX_UPLOAD_BYTES)
    with pytest.raises(ConfigError, match=r"100 MB along(.|\n)*notes\.bin(.|\n)*\.rayignore"):
        uploading.planned_upload(checkout)
