import json

import numpy as np
import pytest

from ray_musicssl.reporting import codebook_plots
from ray_musicssl.reporting.blocks import Keys
from ray_musicssl.reporting.codebook_section import codebook_in_words, codebooks, knowledge_in_words
from ray_musicssl.reporting.codebook_tables import codebook_table
from ray_musicssl.reporting.found import find
from ray_musicssl.reporting.html import write_report

from .conftest import write_json, write_labels


@pytest.fixture
def labelled(tree):
    """The tree with labels of its MFCC codebook, held against the truth."""
    write_labels(tree / "shards" / "labels" / "any", "mfcc")
    return tree


def words_of(blocks):
    return [block.text for block in blocks if block.kind == "text"]


def test_codebook_of_even_use_is_fully_used(tree):
    book = find(tree).codebooks[0]
    even = type(book)(**{**vars(book), "entropy_nats": float(np.log(100))})
    assert codebook_in_words(even).startswith("6.64 of 6.64 bits, as if 100 of 100 clusters")


def test_codebook_table_gives_entropy_beside_its_most_and_the_mean_run(labelled):
    found = find(labelled)
    book = found.codebooks[0]
    row = codebook_table([("name", book, None)]).rows[0]
    assert row[4].text == f"{book.entropy_nats / np.log(2):.2f} of {np.log2(100):.2f}"
    assert (row[6].text, row[7].text) == ("–", "24")
    row = codebook_table([("name", book, found.label_sets[0])]).rows[0]
    assert row[6].text == "3.0 frames, 30 ms"


def test_each_codebook_has_its_own_labels_tables_and_figures(labelled):
    blocks = codebooks(find(labelled), Keys())
    assert [block.kind for block in blocks] == [
        *("table", "heading", "text", "text", "figures", "table", "fold"),
        *("heading", "text", "figures", "fold"),
    ]
    assert [len(block.figures) for block in blocks if block.kind == "figures"] == [4, 2]
    agreement = blocks[5].table
    assert agreement is not None
    assert [cell.text for cell in agreement.rows[0]] == [
        *("note", "pitch", "5", "0.60", "0.30", "0.40", "0.20", "0.55", "0.60", "0.05", "0.10"),
    ]
    assert agreement.rows[2][-1].text == "–"


def test_words_say_what_labels_know_beyond_the_song(labelled):
    truth = find(labelled).label_sets[0].truth
    assert knowledge_in_words(truth, 120) == (
        "Held against the scores of 120 songs: beyond what chance and the song alone give, a label tells of note (+0.50) "
        "and genre (+0.35); it tells nothing of key."
    )
    assert knowledge_in_words(truth[1:2], 1).endswith("one song: a label tells nothing of key.")
    assert knowledge_in_words((), 0) == ""


def test_what_is_not_normal_is_told_first_and_marked(labelled):
    path = labelled / "codebook-mfcc" / "codebook.json"
    facts = json.loads(path.read_text()) | {"usage": [0] * 51 + [1000] * 49, "inertia": [9.0, 5.0]}
    write_json(path, facts)
    blocks = codebooks(find(labelled), Keys())
    warnings = [words for words in words_of(blocks) if words.startswith("Warning: ")]
    told = ["dead clusters", "clusters in effective use", "last fall of the inertia"]
    assert [words.split(": ")[1] for words in warnings] == told
    table = next(block.blocks[0].table for block in blocks if block.kind == "fold")
    assert table is not None
    marked = {row[0].text for row in table.rows for cell in row if cell.mark == "hurts"}
    assert marked == set(told)


def test_a_fit_of_mini_batches_is_told_in_rounds(labelled):
    path = labelled / "codebook-mfcc" / "codebook.json"
    noisy = {"clustering": {"algorithm": "minibatch"}, "inertia": [9e7, 8e7, 8.4e7, 7e7]}
    write_json(path, json.loads(path.read_text()) | noisy)
    found = find(labelled)
    assert codebook_table([("name", found.codebooks[0], None)]).rows[0][7].text == "3 rounds"
    blocks = codebooks(found, Keys())
    assert words_of(blocks)[0].startswith("Nothing unusual in dead clusters, ")
    figure = next(block for block in blocks if block.kind == "figures").figures[1]
    assert ">rounds<" in figure.svg
    assert ">updates<" not in figure.svg
    assert "estimate" in figure.caption


def test_normal_codebooks_say_so(labelled):
    path = labelled / "codebook-mfcc" / "codebook.json"
    write_json(path, json.loads(path.read_text()) | {"inertia": [9.0, 5.0, 4.999]})
    assert words_of(codebooks(find(labelled), Keys()))[0].startswith("Nothing unusual in dead clusters, ")


@pytest.mark.slow
def test_the_page_shows_the_truth_and_hostile_names_stay_text(labelled):
    path = labelled / "shards" / "labels" / "any" / "quality.json"
    path.write_text(path.read_text().replace('"pitch"', '"<b>pitch</b>"'))
    page = write_report(labelled).read_text()
    assert "&lt;b&gt;pitch&lt;/b&gt;" in page
    assert "<b>pitch" not in page


def test_long_runs_are_gathered_in_the_last_bar(labelled):
    labels = find(labelled).label_sets[0]
    svg = codebook_plots.run_lengths("a", labels)
    assert "frames of 10 ms (40: or longer)" in svg
    short = type(labels)(**{**vars(labels), "runs": (0, 5, 3)})
    assert "frames of 10 ms (2: or longer)" in codebook_plots.run_lengths("a", short)
