"""Pictures of a run: their content by oracles of another kind, their files by reading them back."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
import subprocess
import xml.etree.ElementTree as Tree
from itertools import pairwise

import numpy
import pytest
from matplotlib.figure import Figure
from PIL import Image

from flopscope.errors import OptionError
from nas.genotype import Genotype
from nas.report import cells, heatmap
from nas.report.cells import draw_cells, to_dot
from nas.report.curves import draw_history
from nas.report.heatmap import draw_weights, strongest
from nas.report.kinds import color_of, kind_of
from nas.report.labels import Rectangle, place
from nas.report.layers import lay_out
from nas.report.tradeoff import Point, draw_tradeoff, pareto

ODD = ['say "hi"', "50% \\n off", "$x_1^2$", "_private_name_", "a & b &lt; <c>", "{a|b} -> c; }", "two\nlines\0"]
CELL = (("sep_conv_3x3", 0), ("max_pool_3x3", 1), ("skip_connect", 0), ("skip_connect", 0), ("dil_conv_5x5", 2), ("avg_pool_3x3", 3))
PLAIN = Genotype(CELL, (2, 3, 4), CELL[:4], (2, 3))
STRANGE = Genotype(tuple((name, index % 2) for index, name in enumerate([*ODD, ""])), (0, 2, 5, 5), PLAIN.reduce, PLAIN.reduce_concat)
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")


def random_cell(seed):
    chance = random.Random(seed)
    nodes = chance.randint(1, 7)
    operations = ["sep_conv_3x3", "skip_connect", "max_pool_3x3", "none", "a_very_long_name_of_an_operation"]
    edges = tuple((chance.choice(operations), chance.randrange(2 + node)) for node in range(nodes) for _ in range(2))
    return edges, tuple(sorted(chance.sample(range(2 + nodes), chance.randint(1, 2 + nodes))))


def epochs(count):
    return [
        {
            "epoch": number + 1,
            "train_accuracy": number / count,
            "valid_accuracy": number / count / 2,
            "cost": 9e8 - 1e6 * number,
            "derived_cost": 8e8,
            "cost_metric": "macs",
            "budget": 5e8,
            "entropy": 2 - number / count,
        }
        for number in range(count)
    ]


def assert_is_picture(path, least=300):
    with Image.open(path) as image:
        assert all(least <= side <= 6000 for side in image.size)
        assert len(numpy.unique(numpy.asarray(image.convert("L")))) > 5


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved, so that what is on them can be looked at."""
    seen, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **options: (seen.append(self), save(self, *args, **options))[1])
    return seen


@pytest.fixture
def no_dot(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)


def extents(figure, shown):
    return [text.get_window_extent(figure.canvas.get_renderer()) for text in shown]  # not with the one of another resolution


def texts(figure):
    return [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]


# --- cells ---


@pytest.mark.parametrize("seed", range(20))
def test_dot_has_an_edge_for_each_operation_and_each_state_of_the_output(seed):
    edges, concat = random_cell(seed)
    ids = ["c_{k-2}", "c_{k-1}", *map(str, range(len(edges) // 2)), "c_{k}"]
    found = re.findall(r'^  "([^"]*)" -> "([^"]*)" \[(?:label=.*<TD>(.*)</TD>)?', to_dot("cell", edges, concat), re.MULTILINE)
    wanted = [(ids[state], ids[2 + place // 2], operation) for place, (operation, state) in enumerate(edges)]
    assert found == wanted + [(ids[state], "c_{k}", "") for state in concat]


@needs_dot
@pytest.mark.parametrize("cell", [(STRANGE.normal, STRANGE.normal_concat), random_cell(1), random_cell(2)])
def test_graphviz_reads_what_was_meant(cell):
    edges, concat = cell
    done = subprocess.run(["dot", "-Tjson"], input=to_dot(ODD[0], edges, concat).encode(), capture_output=True, check=True)
    graph = json.loads(done.stdout)
    assert done.stderr == b""
    assert graph["name"] == ODD[0]
    assert len(graph["edges"]) == len(edges) + len(concat)
    assert len(graph["objects"]) == len(edges) // 2 + 3


@needs_dot
def test_graphviz_writes_odd_names_as_they_are(tmp_path):
    draw_cells(STRANGE, tmp_path / "cells.svg")
    shown = {
        "".join(each.itertext()).replace("\xa0", " ")
        for each in Tree.parse(tmp_path / "cells.svg").iter("{http://www.w3.org/2000/svg}text")
    }
    assert {name.replace("\n", " ").replace("\0", " ").strip() for name in ODD} <= {text.strip() for text in shown}


@needs_dot
def test_graphviz_draws_the_normal_cell_on_top(tmp_path):
    draw_cells(PLAIN, tmp_path / "cells.svg")
    found = re.findall(
        r'<text[^>]* y="([-\d.]+)"[^>]*>(normal cell|reduction cell)<', (tmp_path / "cells.svg").read_text().replace("&#160;", " ")
    )
    rows = {name: float(y) for y, name in found}
    assert rows["normal cell"] < rows["reduction cell"]  # y grows downwards


@pytest.mark.parametrize("genotype", [PLAIN, STRANGE], ids=["plain", "odd names"])
@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize("renderer", ["dot", "matplotlib"])
def test_cells_are_drawn_with_and_without_graphviz(tmp_path, monkeypatch, genotype, suffix, renderer):
    if renderer == "matplotlib":
        monkeypatch.setattr(shutil, "which", lambda name: None)
    elif shutil.which("dot") is None:
        pytest.skip("needs Graphviz")
    path = tmp_path / f"cells.{suffix}"
    draw_cells(genotype, path)
    if suffix == "png":
        assert_is_picture(path)
    else:
        assert "<svg" in path.read_text(encoding="utf-8")


def test_a_graphviz_that_fails_is_replaced(tmp_path, monkeypatch, figures):
    monkeypatch.setattr(shutil, "which", lambda name: shutil.__file__)  # no program
    draw_cells(PLAIN, tmp_path / "cells.png")
    assert len(figures) == 1


def test_the_sketch_writes_every_operation_and_no_label_lies_on_another(tmp_path, no_dot, figures):
    draw_cells(STRANGE, tmp_path / "cells.png")
    (figure,) = figures
    shown = [text for text in figure.axes[0].texts if text.get_text()]
    wanted = [name.replace("\n", " ").replace("\0", " ") for name in ODD] + [name for name, _ in STRANGE.reduce]
    assert sorted(set(wanted) - {text.get_text() for text in shown}) == []
    boxes = extents(figure, shown)
    assert not any(one.overlaps(two) for number, one in enumerate(boxes) for two in boxes[number + 1 :])
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


@pytest.mark.parametrize("seed", range(20))
def test_a_layout_keeps_boxes_apart_and_runs_to_the_right(seed):
    edges, concat = random_cell(seed)
    output = 2 + len(edges) // 2
    links = [(state, 2 + place // 2, (0.1 * len(name), 0.3)) for place, (name, state) in enumerate(edges)]
    found = lay_out([(0.5, 0.4)] * (output + 1), [*links, *((state, output, None) for state in concat)])
    boxes = found.boxes
    for number, one in enumerate(boxes):
        for two in boxes[number + 1 :]:
            assert abs(one.x - two.x) >= (one.width + two.width) / 2 - 1e-9 or abs(one.y - two.y) >= (one.height + two.height) / 2 + 0.1
    assert all(boxes[left].x < boxes[right].x for chain in found.chains for left, right in pairwise(chain))
    assert [boxes[label].width for label in found.labels if label is not None] == [size[0] for _, _, size in links]


def test_kinds_have_a_colour_each():
    names = ["skip_connect", "avg_pool_3x3", "dil_conv_5x5", "none"]
    assert [kind_of(name) for name in names] == ["skip", "pooling", "convolution", "other"]
    assert len({color_of(name) for name in names}) == 4


# --- history ---


@pytest.mark.parametrize("count", [1, 2, 50])
def test_a_history_has_its_panels(tmp_path, figures, count):
    draw_history(epochs(count), tmp_path / "history.png")
    assert_is_picture(tmp_path / "history.png")
    accuracy, cost, _ = figures[0].axes
    assert list(accuracy.lines[1].get_ydata()) == pytest.approx([100 * epoch["valid_accuracy"] for epoch in epochs(count)])
    assert cost.get_ylabel() == "MACs"
    assert [line.get_label() for line in cost.lines] == ["expected", "derived network", "budget"]
    assert set(cost.lines[2].get_ydata()) == {5e8}
    assert cost.lines[2].get_linestyle() != "-"


def test_a_history_leaves_out_what_was_not_recorded(tmp_path, figures):
    draw_history([{"valid_accuracy": 0.3}, {"valid_accuracy": 0.5}], tmp_path / "history.png")
    (axes,) = figures[0].axes
    assert [line.get_label() for line in axes.lines] == ["validation", "best: 50.00 %"]
    assert list(axes.lines[0].get_xdata()) == [0, 1]


def test_a_history_leaves_gaps_for_what_is_no_number(tmp_path, figures):
    recorded = epochs(4)
    recorded[1]["valid_accuracy"], recorded[3]["valid_accuracy"], recorded[2]["cost"] = math.nan, math.inf, math.nan
    draw_history(recorded, tmp_path / "history.svg")
    values = figures[0].axes[0].lines[1].get_ydata()
    assert [math.isnan(value) for value in values] == [False, True, False, True]
    assert figures[0].axes[0].lines[2].get_label() == "best: 25.00 %"


def test_a_history_of_nothing_is_refused(tmp_path):
    for recorded in ([], [{"epoch": 1, "valid_accuracy": math.nan}]):
        with pytest.raises(OptionError, match="no epoch has any of train_accuracy"):
            draw_history(recorded, tmp_path / "history.png")


# --- heat map ---


def marks(axes):
    found = [patch for patch in axes.patches if patch.get_gid() == "strongest"]
    return {round(patch.get_y() + 0.44): round(patch.get_x() + 0.46) for patch in found}


def test_the_strongest_operation_of_each_edge_is_marked(tmp_path, figures):
    chance = numpy.random.default_rng(0)
    operations = ["conv", "none", "skip_connect", "max_pool"]
    weights = {kind: chance.random((14, 4)) for kind in ("normal", "reduce")}
    draw_weights(
        {kind: rows.tolist() for kind, rows in weights.items()}, operations, [f"0→{row}" for row in range(14)], tmp_path / "map.png"
    )
    assert_is_picture(tmp_path / "map.png")
    for axes, rows in zip(figures[0].axes, weights.values(), strict=False):
        without_none = numpy.where([name == "none" for name in operations], -1, rows)
        assert marks(axes) == dict(enumerate(without_none.argmax(axis=1)))
        assert [text.get_text() for text in axes.texts] == [f"{value:.2f}" for value in rows.ravel()]


def test_the_strongest_operation_is_none_of_none_and_nan():
    assert strongest([0.9, 0.1], ["none", "conv"]) == 1
    assert strongest([math.nan, 0.1], ["conv", "pool"]) == 1
    assert strongest([1.0], ["none"]) is None
    assert strongest([-3.0, -2.0, -2.0], ["a", "b", "c"]) == 1


def test_values_can_be_read_on_their_colour(tmp_path, figures):
    draw_weights({"normal": [[0.0, 1.0, math.nan]]}, ["a", "b", "c"], ["0→2"], tmp_path / "map.png")
    light, dark, missing = figures[0].axes[0].texts
    assert (light.get_color(), dark.get_color()) == (heatmap.INK, "white")
    assert missing.get_text() == "–"


def test_weights_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(OptionError, match=r"'reduce' must be 1 rows .* of 2 .*, but are 2 rows of 1 or 2"):
        draw_weights({"normal": [[1, 2]], "reduce": [[1, 2], [1]]}, ["a", "b"], ["0→2"], tmp_path / "map.png")
    with pytest.raises(OptionError, match="at least one"):
        draw_weights({}, ["a"], ["0→2"], tmp_path / "map.png")


# --- tradeoff ---


@pytest.mark.parametrize("seed", range(30))
def test_the_front_is_what_brute_force_finds(seed):
    chance = random.Random(seed)
    points = [Point(str(number), chance.randint(1, 8), chance.randint(1, 8) / 8) for number in range(chance.randint(0, 40))]

    def is_beaten(point):
        return any(
            other.cost <= point.cost and other.accuracy >= point.accuracy and (other.cost < point.cost or other.accuracy > point.accuracy)
            for other in points
        )

    front = pareto(points)
    assert sorted(front, key=lambda point: int(point.name)) == [point for point in points if not is_beaten(point)]
    assert [point.cost for point in front] == sorted(point.cost for point in front)


def test_points_that_are_no_numbers_beat_nothing():
    good = Point("good", 1, 0.5)
    assert pareto([Point("a", math.nan, 0.9), good, Point("b", 0.5, math.nan)]) == [good]


@pytest.mark.parametrize("seed", range(3))
def test_names_of_many_points_do_not_overlap(tmp_path, figures, seed):
    chance = random.Random(seed)
    points = [
        Point(f"net_{number}", 10 ** chance.uniform(6, 9), chance.uniform(0.5, 0.9), chance.choice([None, 0.01]), chance.choice("abc"))
        for number in range(30)
    ]
    draw_tradeoff(points, tmp_path / "tradeoff.png", cost_label="MACs")
    assert_is_picture(tmp_path / "tradeoff.png")
    (axes,) = figures[0].axes
    assert axes.get_xscale() == "log"
    boxes = extents(figures[0], [text for text in axes.texts if text.get_text()])
    assert len(boxes) == 30
    assert not any(one.overlaps(two) for number, one in enumerate(boxes) for two in boxes[number + 1 :])
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)


def test_labels_avoid_what_is_taken():
    inside, mark = Rectangle(0, 0, 200, 100), Rectangle(45, 45, 55, 55)
    wall = Rectangle(55, 0, 200, 100)
    (found,) = place([(50.0, 50.0)], [(30.0, 10.0)], [mark], [wall], inside)
    assert found.right <= 50
    assert found.left >= 0
    assert place([], [], [], [], inside) == []


def test_a_narrow_range_is_linear_and_groups_are_named_as_they_are(tmp_path, figures):
    points = [Point(name, 3 + number, 0.9, 0.01, group=name) for number, name in enumerate(ODD)] + [Point("", 4, 0.8)]
    draw_tradeoff(points, tmp_path / "tradeoff.svg", cost_label="$cost_")
    (axes,) = figures[0].axes
    names = [name.replace("\n", " ").replace("\0", " ") for name in ODD]
    assert axes.get_xscale() == "linear"
    assert axes.get_xlabel() == "$cost_"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [*names, "other", "Pareto front"]
    assert set(names) <= set(texts(figures[0]))


def test_one_point_is_enough_and_none_is_refused(tmp_path):
    draw_tradeoff([Point("only", 0, 0.5, math.nan)], tmp_path / "tradeoff.png", cost_label="MACs")
    assert_is_picture(tmp_path / "tradeoff.png")
    with pytest.raises(OptionError, match="no point has a cost and an accuracy"):
        draw_tradeoff([Point("a", math.nan, 0.5)], tmp_path / "tradeoff.png", cost_label="MACs")


# --- all ---

DRAWN = {
    "cells": lambda path: draw_cells(PLAIN, path),
    "history": lambda path: draw_history(epochs(2), path),
    "weights": lambda path: draw_weights({"normal": [[0.5, 1e9]]}, ODD[:2], ["$_0→2"], path),
    "tradeoff": lambda path: draw_tradeoff([Point("a_b", 1, 0.5)], path, cost_label="MACs"),
}


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_files_that_cannot_be_drawn_are_refused(tmp_path, draw):
    with pytest.raises(OptionError, match=r"must end in \.png, \.svg or \.pdf"):
        draw(tmp_path / "picture.gif")
    with pytest.raises(OptionError, match=r"there is no folder .*missing"):
        draw(tmp_path / "missing" / "picture.png")
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(OptionError, match=r"cannot write .*taken\.png: Is a directory"):
        draw(tmp_path / "taken.png")


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_suffixes_may_be_in_capitals(tmp_path, draw):
    draw(tmp_path / "picture.PNG")
    assert_is_picture(tmp_path / "picture.PNG", least=150)


def test_names_are_never_typeset(tmp_path, no_dot, figures):
    for draw in DRAWN.values():
        draw(tmp_path / "picture.png")
    named = [text for figure in figures for text in figure.findobj(match=lambda artist: hasattr(artist, "get_parse_math"))]
    typeset = {text.get_text() for text in named if text.get_parse_math() and "$" in text.get_text()}
    assert typeset <= {"$c_{k-2}$", "$c_{k-1}$", "$c_{k}$"}  # the sketch's own


def test_cells_leave_no_file_when_graphviz_is_silent(tmp_path, monkeypatch, figures):
    monkeypatch.setattr(cells, "_rendered", lambda source, form: None)
    draw_cells(PLAIN, tmp_path / "cells.pdf")
    assert (tmp_path / "cells.pdf").read_bytes().startswith(b"%PDF")
