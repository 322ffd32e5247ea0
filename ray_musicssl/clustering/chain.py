"""A codebook and those before it: what a residual codebook needs to turn audio into labels.

Conventions:
    A chain begins with the codebook that labels; each further one quantises what the one before is a residual of. The last
    one's feature is computed from audio. A codebook of any other feature is a chain of one.
    A saved chain lies in one directory: the first codebook in `DIR`, the next in `DIR/base`, then `DIR/base/base`.
    Which codebook a residual is of is a matter of its hash. It is looked for at the recorded path, then beside it: codebooks
    that were moved together find each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ray_musicssl.clustering.codebook import FACTS_NAME, Codebook, load_codebook
from ray_musicssl.config.feature import FeatureConfig, HiddenConfig, ResidualConfig
from ray_musicssl.errors import DataError
from ray_musicssl.run_dir import read_json

BASE_NAME = "base"


@dataclass(frozen=True)
class CodebookChain:
    """Codebooks, each but the last of what the next one leaves of its frames."""

    codebooks: tuple[Codebook, ...]

    @property
    def first(self) -> Codebook:
        """The codebook whose clusters are the labels."""
        return self.codebooks[0]

    @property
    def leaf(self) -> FeatureConfig:
        """The feature that is computed from audio: the last codebook's."""
        return self.codebooks[-1].feature

    def with_encoder(self, encoder: Path) -> "CodebookChain":
        """The same chain over an encoder of the same weights at another path.

        Raises:
            TypeError: if the last codebook's feature is not `hidden`.
        """
        if not isinstance(self.leaf, HiddenConfig):
            raise TypeError(f"the feature {self.leaf.name} has no encoder")
        feature = self.leaf.model_copy(update={"encoder": str(encoder.resolve())})
        return CodebookChain((*self.codebooks[:-1], replace(self.codebooks[-1], feature=feature)))

    def save(self, directory: Path) -> None:
        """Write all codebooks, the one needed first before the one that needs it."""
        places = [directory.joinpath(*[BASE_NAME] * depth) for depth in range(len(self.codebooks))]
        for depth in reversed(range(len(self.codebooks))):
            codebook = self.codebooks[depth]
            if isinstance(codebook.feature, ResidualConfig):
                where = {"codebook": str(places[depth + 1].resolve())}
                codebook = replace(codebook, feature=codebook.feature.model_copy(update=where))
            codebook.save(places[depth])


def chain_of(codebook: Codebook, known: Mapping[str, Codebook] | None = None) -> CodebookChain:
    """A codebook with all that it is a residual of.

    Args:
        codebook: the first of the chain.
        known: codebooks at hand by hash; they are taken before any is read from disk.

    Raises:
        ConfigError: if a residual names no codebook.
        DataError: if one is missing, damaged, or not the one that its residual is of.
    """
    chain = [codebook]
    while isinstance(feature := chain[-1].feature, ResidualConfig):
        # Each hash covers the next one's: a chain cannot come back to where it was.
        chain.append((known or {}).get(feature.codebook_hash) or open_base(feature))
    return CodebookChain(tuple(chain))


def load_chain(directory: Path) -> CodebookChain:
    """Read what `CodebookChain.save` or `kmeans` wrote.

    Raises:
        DataError: if a codebook is missing, damaged, or not the one that its residual is of.
    """
    return chain_of(open_codebook(directory))


def leaf_of(feature: FeatureConfig) -> FeatureConfig:
    """The feature that is computed from audio: of a residual that of its first stage, of any other itself.

    Raises:
        ConfigError: if a residual names no codebook.
        DataError: if a codebook is missing, damaged, or not the one that its residual is of.
    """
    return chain_of(open_base(feature)).leaf if isinstance(feature, ResidualConfig) else feature


def open_codebook(directory: Path) -> Codebook:
    """Read a codebook; the one that its feature is a residual of is looked for beside it if it is not where it was.

    Raises:
        DataError: if there is no sound codebook.
    """
    codebook = load_codebook(directory)
    feature = codebook.feature
    if not isinstance(feature, ResidualConfig) or _hash_at(Path(feature.codebook)) == feature.codebook_hash:
        return codebook
    found = _neighbour(directory, feature.codebook_hash)
    return replace(codebook, feature=feature.model_copy(update={"codebook": str(found)})) if found else codebook


def open_base(feature: ResidualConfig) -> Codebook:
    """The codebook that a resolved section means: the one at its path, or one of its hash beside that path.

    Raises:
        ConfigError: if the section names no codebook.
        DataError: if there is none, it is damaged, or it has another hash.
    """
    path = Path(feature.codebook)
    if feature.codebook and _hash_at(path) != feature.codebook_hash:
        path = _neighbour(path, feature.codebook_hash) or path
        feature = feature.model_copy(update={"codebook": str(path)})
    feature.check_codebook()
    codebook = open_codebook(path)
    if codebook.hash != feature.codebook_hash:
        raise DataError(
            f"the codebook at {path} is {codebook.hash}, but the feature residual is of the codebook "
            f"{feature.codebook_hash or '(not resolved)'}; name the directory that holds that one, or make codebook and "
            f"labels again with this one"
        )
    return codebook


def _neighbour(path: Path, codebook_hash: str) -> Path | None:
    """A directory in `path` or beside it that says it holds the codebook of that hash."""
    places = [path / BASE_NAME, *(sorted(path.parent.iterdir()) if path.parent.is_dir() else [])]
    return next((place.resolve() for place in places if codebook_hash and _hash_at(place) == codebook_hash), None)


def _hash_at(directory: Path) -> str:
    """The hash that a codebook's JSON gives; empty where there is none that can be read."""
    try:
        facts = read_json(directory / FACTS_NAME)
    except (OSError, ValueError):
        return ""
    return str(facts.get("hash", "")) if isinstance(facts, dict) else ""
