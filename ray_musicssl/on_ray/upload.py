"""What a job takes along from a working directory: listed first, secrets and data left at home."""

import logging
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ray._private.runtime_env.packaging import get_excludes_from_ignore_files

from ray_musicssl.errors import ConfigError

logger = logging.getLogger(__name__)

MAX_UPLOAD_BYTES = 100_000_000
LISTED_FILES = 8  # the largest ones; the rest is counted

SECRET_NAMES = (
    *(".env", ".env.*", ".netrc", ".ssh", ".aws", ".ray", ".kube", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks"),
    *("id_rsa*", "id_ecdsa*", "id_ed25519*", "credentials", "credentials.*", "secrets.*"),
    *("token", "*_token", "auth_token*", "*.token"),
)
DATA_NAMES = (
    *(
        "demo-run",
        "demo-sweep",
        "shards",
        "*.parquet",
        "*.safetensors",
        "*.pt",
        "*.ckpt",
        "*.zip",
        "*.tar",
        "*.tar.gz",
        "*.tgz",
    ),
    *("*.wav", "*.mp3", "*.flac", "*.ogg", "*.opus", "*.m4a", "*.aif", "*.aiff", "*.aac", "*.wma"),
)
MACHINE_NAMES = (
    *(".git", ".venv", "venv", "__pycache__", "*.pyc", "*.egg-info", "build", "dist"),
    *(".pytest_cache", ".ruff_cache", ".hypothesis"),
)
EXCLUDED_NAMES = SECRET_NAMES + DATA_NAMES + MACHINE_NAMES


@dataclass(frozen=True)
class Upload:
    """The files of a working directory that a job gets."""

    root: Path
    sizes_bytes: dict[str, int]  # by path relative to `root`, sorted

    @property
    def total_bytes(self) -> int:
        """Their size before compression."""
        return sum(self.sizes_bytes.values())

    def summary(self) -> str:
        """Count, total and the largest files, as a few lines."""
        largest = sorted(self.sizes_bytes, key=lambda name: (-self.sizes_bytes[name], name))[:LISTED_FILES]
        rows = [f"  {self.sizes_bytes[name] / 1e3:9.1f} kB  {name}" for name in largest]
        rest = len(self.sizes_bytes) - len(largest)
        head = f"{len(self.sizes_bytes)} files, {self.total_bytes / 1e6:.2f} MB, from {self.root}; the largest:"
        return "\n".join([head, *rows, *([f"  and {rest} smaller ones"] if rest else [])])


def planned_upload(working_dir: Path) -> Upload:
    """The files that a job would get: all but secrets, data, caches and what `.gitignore` and `.rayignore` name.

    Links that lead out of the directory, and linked directories, are left out.

    Raises:
        ConfigError: if that is more than 100 MB or the directory does not exist.
    """
    root = working_dir.resolve()
    if not root.is_dir():
        raise ConfigError(
            f'working directory "{working_dir}" is no directory; give a checkout with ray_musicssl/ and jobs/'
        )
    upload = Upload(root, {str(path.relative_to(root)): path.stat().st_size for path in _sent_files(root)})
    if upload.total_bytes > MAX_UPLOAD_BYTES:
        raise ConfigError(
            f"a job may take {MAX_UPLOAD_BYTES / 1e6:.0f} MB along, not this:\n{upload.summary()}\n"
            f"name what it does not need in {root / '.rayignore'}"
        )
    return upload


def _sent_files(root: Path) -> list[Path]:
    return sorted(_walk(root, root, []))


def _walk(directory: Path, root: Path, ignores: list[Callable[[Path], bool]]) -> Iterator[Path]:
    ignores = [*ignores, *get_excludes_from_ignore_files(directory, include_gitignore=True, logger=logger)]
    for path in directory.iterdir():
        if is_excluded(path.name) or any(ignored(path) for ignored in ignores):
            continue
        if path.is_symlink() and (path.is_dir() or not path.resolve().is_relative_to(root)):
            continue
        if path.is_dir():
            yield from _walk(path, root, ignores)
        elif path.is_file():
            yield path


def is_excluded(name: str) -> bool:
    """Whether a file or directory of this name never leaves the machine; upper and lower case are the same."""
    return any(fnmatchcase(name.lower(), pattern) for pattern in EXCLUDED_NAMES)


def write_archive(upload: Upload, path: Path) -> Path:
    """Write the files as a zip whose bytes depend on their names, modes and contents alone, and give its path."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in upload.sizes_bytes:
            source = upload.root / name
            entry = zipfile.ZipInfo(name)  # its date is 1980, whatever the file's
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (source.stat().st_mode & 0o755) << 16
            archive.writestr(entry, source.read_bytes())
    return path
