"""Tables in LaTeX."""

from collections.abc import Iterable

from ray_musicssl.reporting.tables import Cell, Table

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "–": "--",
    "…": r"\ldots{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",  # a straight one needs another font encoding than LaTeX's own
    "²": r"$^2$",
    "▲": r"$\uparrow$",
    "▼": r"$\downarrow$",
}

_PREAMBLE = r"\usepackage{booktabs,graphicx}"


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it is, on one line."""
    return "".join(_ESCAPES.get(letter, letter) for letter in " ".join(text.split()))


def latex_file(tables: Iterable[Table]) -> str:
    """Tables one after another; the first line names the packages that they need."""
    return "\n\n".join([f"% {_PREAMBLE}", *map(to_latex, tables)]) + "\n"


def to_latex(table: Table) -> str:
    """A table that fits the width of a page; the best of a column is bold, what the paper printed is in italics."""
    words = min(table.num_text_columns, len(table.header))
    lines = [
        r"\begin{table*}",
        r"\centering",
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{{'l' * words}{'r' * (len(table.header) - words)}}}",
        r"\toprule",
        _row([latex_text(title) for title in table.header]),
        r"\midrule",
        *(_row([_cell(cell, row[0].mark) for cell in row]) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}}",
    ]
    caption = [rf"\caption{{{latex_text(table.caption)}}}"] if table.caption else []
    return "\n".join([*lines, *caption, r"\end{table*}"])


def _row(texts: list[str]) -> str:
    # After a row's end LaTeX would take a star or a bracket for an argument of it.
    return "{}" + " & ".join(texts) + r" \\"


def _cell(cell: Cell, mark: str) -> str:
    text = latex_text(cell.text)
    if cell.is_best:
        return rf"\textbf{{{text}}}"
    return rf"\textit{{{text}}}" if mark == "paper" else text
