"""JSON objects that stages leave, read with an error that names the file."""

import json
from pathlib import Path
from typing import Any

from ray_musicssl.errors import DataError


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        DataError: if it cannot be read, or is no object.
    """
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}); remove it and run its stage again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} holds a {type(value).__name__} instead of an object; run its stage again")
    return value
