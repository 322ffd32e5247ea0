"""Text tables as data sets ship them: lists, and values separated by commas or tabs.

Conventions:
    Files are UTF-8, with or without a byte order mark. Lines of nothing but blanks are left out, but counted.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ray_musicssl.errors import DataError
from ray_musicssl.tasks.files import access_to


class Row(NamedTuple):
    """One row of a table."""

    line: int  # where it ends, counted from 1
    values: list[str]


def read_text(path: Path) -> str:
    """The text of a file, its line ends as newlines.

    Raises:
        DataError: if it is not UTF-8, naming the first such line.
        EnvironmentFaultError: if the system does not give it.
    """
    with access_to(path):
        content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} line {line} is not UTF-8 (byte {content[error.start]:#04x}); fetch it again, as the data set's "
            f"authors published it"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: Path) -> list[str]:
    """The lines of a file that are more than blanks, without their ends.

    Raises:
        DataError: if it is not UTF-8.
        EnvironmentFaultError: if the system does not give it.
    """
    return [line for line in read_text(path).split("\n") if line.strip()]


def read_rows(path: Path, *, delimiter: str) -> Iterator[Row]:
    """The rows of a table whose values may be quoted.

    Raises:
        DataError: if it is not UTF-8, or a row cannot be told from the next; the message names the line.
        EnvironmentFaultError: if the system does not give it.
    """
    rows = csv.reader(io.StringIO(read_text(path)), delimiter=delimiter)
    try:
        for values in rows:
            if any(value.strip() for value in values):
                yield Row(rows.line_num, values)
    except csv.Error as error:
        raise DataError(f"{path} line {rows.line_num} is no row of a table ({error}); fetch it again") from error
