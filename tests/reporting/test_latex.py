import re
import shutil
import string
import subprocess

import pytest

from ray_musicssl.reporting.latex import latex_file, latex_text, to_latex
from ray_musicssl.reporting.tables import Cell, Table

TABLE = Table(
    header=("model_a & b", "50 %\nx"),
    rows=(
        (Cell(text="#1 {x}"), Cell(text="−1.0 ± 0.5", is_best=True)),
        (Cell(text="old", mark="paper"), Cell(text="–")),
    ),
    caption=f"{string.punctuation} ± − – … ² ▲ ▼",
)


def test_nothing_in_a_cell_is_a_command():
    assert latex_text("50 % of a_b & {c} #1 $x$ ~ ^ \\end") == (
        r"50 \% of a\_b \& \{c\} \#1 \$x\$ \textasciitilde{} \textasciicircum{} \textbackslash{}end"
    )


def test_rows_have_as_many_cells_as_the_header_and_best_and_printed_ones_stand_out():
    text = to_latex(TABLE)
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [1, 1, 1]
    assert rows[1] == r"{}\#1 \{x\} & \textbf{$-$1.0 $\pm$ 0.5} \\"
    assert rows[2] == r"{}\textit{old} & \textit{--} \\"
    assert text.count(r"\begin") == text.count(r"\end{") == 2
    assert r"\begin{tabular}{lr}" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_takes_it(tmp_path):
    tables = latex_file([TABLE, TABLE])
    preamble = tables.splitlines()[0].removeprefix("% ")
    (tmp_path / "page.tex").write_text(
        rf"\documentclass{{article}}{preamble}\begin{{document}}{tables}\end{{document}}"
    )
    subprocess.run(["pdflatex", "-halt-on-error", "page.tex"], cwd=tmp_path, check=True, capture_output=True)
