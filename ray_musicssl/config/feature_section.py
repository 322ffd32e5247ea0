"""What every target feature's section can say of itself.

Conventions:
    Two sections describe the same feature if their `identity` is equal; nothing compares the sections themselves.
"""

from shlex import quote
from typing import Any

from ray_musicssl.config.section import Section


class FeatureSection(Section):
    """What every target feature's section can say of itself; it also has a `name`."""

    @property
    def identity(self) -> dict[str, Any]:
        """All that the frames depend on, as JSON-like values: what is compared and what hashes cover."""
        return self.model_dump(mode="json")

    @property
    def slug(self) -> str:
        """A short word for names of directories."""
        return str(self.identity["name"])

    @property
    def words(self) -> str:
        """The settings as a command line writes them: `feature.name=mfcc feature.num_coefficients=13`."""
        settings = self.model_dump(mode="json").items()
        return " ".join(quote(f"feature.{key}={value}") for key, value in settings if value != "")
