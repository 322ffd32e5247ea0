"""Text tables as data sets ship them."""

import errno

import pytest

from ray_musicssl.errors import DataError, EnvironmentFaultError
from ray_musicssl.tasks.table import read_lines, read_rows, read_text


@pytest.fixture
def write(tmp_path):
    def write_bytes(content):
        (tmp_path / "table.txt").write_bytes(content)
        return tmp_path / "table.txt"

    return write_bytes


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lines_are_the_same_whatever_their_ends_and_the_mark(write, end, mark):
    path = write(mark + end.join([b"a\tb", b" \t", b"", "\u00e9\x85c".encode()]) + end)
    assert read_lines(path) == ["a\tb", "\u00e9\x85c"]


def test_a_line_that_is_not_utf_8_is_named(write):
    with pytest.raises(DataError, match=r"table\.txt line 3 is not UTF-8 \(byte 0xe9\); fetch it again"):
        read_text(write(b"a\nb\ncaf\xe9\nd\n"))


def test_rows_know_their_lines_and_may_have_quotes_and_line_ends_in_them(write):
    assert list(read_rows(write(b'a,b\r\n\r\n"c,\r\nd",e\r\n , \r\nf\r\n'), delimiter=",")) == [
        (1, ["a", "b"]),
        (4, ["c,\nd", "e"]),
        (6, ["f"]),
    ]


def test_a_row_that_is_none_is_named(write):
    rows = read_rows(write(b"a\nb" + b"x" * 140_000 + b"\n"), delimiter=",")
    assert next(rows).values == ["a"]
    with pytest.raises(DataError, match=r"table\.txt line 2 is no row of a table \(field larger"):
        next(rows)


@pytest.mark.parametrize(("error", "said"), [(errno.EACCES, "Permission denied"), (errno.EIO, "Input/output error")])
def test_a_table_that_the_system_does_not_give_is_named_with_a_remedy(write, lock, error, said):
    path = lock(write(b"a\n"), error)
    with pytest.raises(EnvironmentFaultError, match=rf"table\.txt cannot be read now \({said}\); .*same command again"):
        read_lines(path)
