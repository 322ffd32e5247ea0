"""Tables in LaTeX, for a paper that uses the packages booktabs, graphicx and textcomp."""

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
    '"': r"\textquotedbl{}",
    "²": r"$^2$",
    "▲": r"$\uparrow$",
    "▼": r"$\downarrow$",
}


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it is, on one line."""
    return "".join(_ESCAPES.get(letter, letter) for letter in " ".join(text.split()))


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
