import json

import numpy as np
import pytest

from ray_musicssl.errors import DataError
from ray_musicssl.reporting.blocks import Keys
from ray_musicssl.reporting.closer_look import closer_look
from ray_musicssl.reporting.found import find
from ray_musicssl.reporting.scoreboard import scoreboard

TAGS = {"classes": ["solo", "$x$ <b>", "loud"], "roc_auc": [0.9, None, 0.5], "average_precision": [0.8, None, 0.3]}
RATINGS = {"names": ["arousal", "valence"], "answers": [[0.1, 1.0], [2.0, -1.0]], "outputs": [[0.2, 0.5], [1.5, 0.0]]}


def change(tree, model, task, **fields):
    path = tree / "runs" / model / "scores" / f"{task}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def figures(tree):
    return [figure for block in closer_look(scoreboard(find(tree)), Keys()) for figure in block.figures]


def test_layer_shares_are_written_into_their_cells(tree):
    change(tree, "musichubert-demo", "gtzan_genre", layer_weights=[0.11, 0.12, 0.13, 0.24, 0.40])
    first = figures(tree)[0]
    assert "musichubert-demo" in first.caption
    assert all(f">{share}</text>" in first.svg for share in (11, 12, 13, 24, 40))


def test_single_layers_have_a_panel_a_task(tree):
    def layer(mean):
        return {"accuracy": {"mean": mean, "sd": 0.01, "values": [mean, mean]}}

    assert not any("one layer alone" in figure.caption for figure in figures(tree))
    for task in ("gtzan_genre", "nsynth_pitch"):
        change(tree, "musichubert-demo", task, by_layer=[layer(mean) for mean in np.linspace(0.2, 0.6, 5)])
    (found,) = [figure for figure in figures(tree) if "one layer alone" in figure.caption]
    assert [found.svg.count(f">{title}</text>") for title in ("Genre", "Pitch", "Key")] == [1, 1, 0]


def test_tags_and_ratings_are_drawn_and_names_stay_text(tree):
    change(
        tree, "musichubert-demo", "nsynth_pitch", details={"tags": {**TAGS, "positives": [2, 0, 9], "num_tracks": 10}}
    )
    change(tree, "musichubert-demo", "gtzan_genre", details={"regression": RATINGS})
    drawn = [figure.svg for figure in figures(tree)]
    (tags,) = [svg for svg in drawn if ">solo</text>" in svg]
    assert "$x$ &lt;b&gt;" in tags
    assert tags.index(">solo<") < tags.index(">loud<") < tags.index("$x$")  # best first, without a score last
    assert any(">arousal</text>" in svg and ">valence</text>" in svg for svg in drawn)


def test_details_that_cannot_be_drawn_name_their_file(tree):
    change(tree, "musichubert-demo", "gtzan_genre", details={"regression": {**RATINGS, "outputs": [[1.0, 2.0]]}})
    with pytest.raises(
        DataError, match=r"gtzan_genre\.json: its details\.regression cannot be drawn .* probe that task again"
    ):
        figures(tree)
