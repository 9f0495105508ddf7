"""Figures from scores, metrics, logs and edits: their data against slow references, and that each can be plotted."""

import json
import sys

import numpy as np
import pytest
import torch
from paper_run import RUN, SCORERS, SOURCES, identities
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

from nearid.config.settings.paper import ComputeFigure, PlotFigure
from nearid.data.schema import MTG
from nearid.errors import UserError
from nearid.io.files import write_text
from nearid.io.images import encode_png
from nearid.io.tables import read_table, write_table
from nearid.paper.figures import compute_figure as write_data
from nearid.paper.figures import (
    figure2,
    figure3,
    figure4,
    figure7,
    figure8,
    figure9,
    margins,
    plot_figure,
    similarities,
    training,
    weights,
)
from nearid.paper.style import Look
from nearid.scores import mtg

SCORED = {"figure": "any", "seed": 3, "condition": "full", "run": RUN}
FIGURE8 = {**SCORED, "figure": "figure8", "rows": 2, "size_px": 16}
TRAINING = {"figure": "training", "seed": 3, "ablations": [{"id": "nearid", "display": "NearID"}]}
SAMPLES = 5


@pytest.fixture
def with_edits(layout):
    random = np.random.default_rng(2)
    for scorer in SCORERS[:3]:
        columns = {field: random.uniform(size=SAMPLES) for field in (*mtg.PAIRS, *mtg.ORACLES)}
        columns |= {"sample": range(10, 10 + SAMPLES), "condition": ["full"] * SAMPLES}
        write_table(layout.scores(scorer["id"], "mtg"), columns, mtg.SCHEMA)
    grey = {"original": 40, "inpainted": 200}
    half = np.zeros((8, 8), bool)
    half[:, :4] = True
    pixels = {"id": list(range(10, 10 + SAMPLES))}
    for number in (1, 2):
        for name, value in grey.items():
            pixels[f"image_{number}_{name}"] = [encode_png(np.full((8, 8, 3), value + number, np.uint8))] * SAMPLES
        pixels[f"image_{number}_object_mask"] = [encode_png(half)] * SAMPLES
        pixels[f"image_{number}_part_mask"] = [encode_png(half & half.T)] * SAMPLES
    write_table(layout.mtg("test"), pixels, MTG)
    return layout


def rows_of(layout, scorer, benchmark):
    return read_table(layout.scores(scorer, benchmark)).to_pylist()


def test_figure9_holds_both_edits_and_names_who_did_not_score(with_edits):
    arrays = figure9.compute(ComputeFigure.parse(SCORED), with_edits)
    rows = rows_of(with_edits, "nearid", "mtg")
    assert arrays["scores"][2].tolist() == [row["s_11e"] for row in rows] + [row["s_22e"] for row in rows]
    assert arrays["absent"].tolist() == [SCORERS[3]["display"]]
    assert arrays["left"].tolist() == [True, False, False]


def test_figure8_holds_pictures_outlines_and_scores_of_the_same_samples(with_edits):
    arrays = figure8.compute(ComputeFigure.parse(FIGURE8), with_edits)
    rows = {row["sample"]: row for row in rows_of(with_edits, "infonce", "mtg")}
    for place, id in enumerate(arrays["ids"]):
        assert arrays["images"][place, :, 8, 8, 0].tolist() == [41, 42, 201, 202]
        assert arrays["similarities"][place, 1:, 1].tolist() == [rows[id][name] for name in ("s_12", "s_11e", "s_12e")]
    assert arrays["objects"][0, 0].mean() == 0.5 and 0.2 < arrays["parts"][0, 3].mean() < 0.3
    assert len(figure8.compute(ComputeFigure.parse({**FIGURE8, "rows": 6}), with_edits)["ids"]) == 5, (
        "as many as there are"
    )


@pytest.mark.parametrize("module", [figure7, figure8])
@pytest.mark.parametrize("name", ["NearID (released head), scored with everything that there is", "a"])
def test_names_of_scorers_are_not_cut_off(module, name):
    look = Look()
    pictures = np.zeros((1, 4, 4, 4, 3), np.uint8)
    arrays = {"images": pictures, "similarities": np.full((1, 4, 1), 0.5), "scorers": np.array([name])}
    arrays |= {"present": np.ones((1, 4), bool), "rows": np.array(["mug"]), "columns": np.array(["x"] * 4)}
    arrays |= {"objects": np.zeros((1, 4, 4, 4)), "parts": np.zeros((1, 4, 4, 4)), "oracle": np.full((1, 4), np.nan)}
    with look.applied():
        figure = module.plot(arrays | {"absent": np.array([]), "ids": np.array([1])}, look)
        renderer = figure.canvas.get_renderer()
        shown = {text.get_text(): text.get_window_extent(renderer) for text in figure.axes[0].texts}
        assert shown[name].x0 >= 0 and shown[name].x1 <= figure.bbox.x1 / 2


def test_formulas_are_set_and_not_shown_as_source():
    look = Look()
    arrays = {"images": np.zeros((3, 4, 4, 3), np.uint8)}
    with look.applied():
        figure = figure2.plot(arrays, look)
        formulas = [text for axes in figure.axes for text in axes.texts if "$" in text.get_text()]
        assert len(formulas) == 2 and all(text.get_parse_math() for text in formulas)


def test_margins_and_tiers_against_rows(layout, with_images):
    found = margins.compute(ComputeFigure.parse(SCORED), layout)["margins"]
    rows = [row for row in rows_of(layout, "nearid", "nearid_bench") if row["source"] == SOURCES[1]["id"]]
    np.testing.assert_allclose(found[2, 1, :, 0], [row["sim_01"] - row["cross_00"] for row in rows])
    np.testing.assert_allclose(found[2, 1, :, 5], [row["sim_12"] - row["cross_22"] for row in rows])
    arrays = similarities.compute(ComputeFigure.parse(SCORED), layout)
    everything = rows_of(layout, "nearid", "nearid_bench")
    own = [row[f"cross_{k}{k}"] for row in everything for k in range(3)]
    assert arrays["means"][2, 1] == pytest.approx(np.nanmean(own))
    widths = np.diff(arrays["edges"])
    np.testing.assert_allclose((arrays["counts"] * widths).sum(-1), 1.0)


def test_training_curves_are_those_of_the_log(layout):
    others = {"step_s": 0.1, "tokens_per_s": 9, "cosine_positive": 0.5, "val_ssr": 40.0, "val_margin": 0.1}
    lines = [{"step": step, "loss": 3.0 / step, "ranking": 1.0, **others} for step in (1, 2, 3)]
    write_text(layout.head_file("nearid", "log.jsonl"), "".join(json.dumps(line) + "\n" for line in lines))
    arrays = training.compute(ComputeFigure.parse(TRAINING), layout)
    assert arrays["curves_0"].tolist() == ["loss", "ranking"]
    assert arrays["values_0"][:, 0].tolist() == [3.0, 1.5, 1.0]
    assert arrays["cosines_0"][:, 0].tolist() == [0.5] * 3 and np.isnan(arrays["cosines_0"][:, 1:]).all()
    assert training.smooth(np.array([1.0, np.nan, 4.0, 6.0]), 2).tolist() == [1.0, 1.0, 4.0, 5.0]
    with pytest.raises(UserError, match="infonce"):
        training.compute(ComputeFigure.parse({**TRAINING, "ablations": [{"id": "infonce", "display": "I"}]}), layout)


def test_weights_puts_each_head_at_its_alpha(layout):
    trained = {"objective": "nearid", "params": {"alpha": 1.0}, "sources": 2, "mtg": True}
    run = {**RUN, "scorers": [SCORERS[0], {**SCORERS[2], "training": trained}]}
    arrays = weights.compute(ComputeFigure.parse({**SCORED, "run": run}), layout)
    # Alpha 1 without cohesion is in both sweeps.
    assert arrays["alpha"].tolist() == [1.0] and arrays["beta"].tolist() == [0.0]
    assert arrays["alpha_ours"][0, 0].tolist() == [90.0, 86.0, 94.0]
    assert arrays["alpha_at"].tolist() == [0.0, 0.1, 0.25, 0.5, 1.0, 2.0]


def test_figure4_shows_the_categories_that_people_rated():
    """Only `object`, as in the public ratings: bars of it, and not the paper's values."""
    values = np.full((2, 4), np.nan)
    values[:, 1] = 0.5, 0.4
    arrays = {"values": values, "errors": values / 10, "paper": np.ones((2, 4)), "reasons": np.array(["", ""])}
    arrays |= {"scorers": np.array(["NearID", "VSM"]), "ours": np.array([True, False])}
    drawn = figure4.plot(arrays, Look())
    assert "rated are object" in drawn.get_suptitle() and "paper" not in drawn.get_suptitle()
    (axes,) = drawn.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["object"]


def test_figure4_says_why_there_is_nothing(layout):
    arrays = figure4.compute(ComputeFigure.parse(SCORED), layout)
    assert np.isnan(arrays["values"]).all() and set(arrays["reasons"]) == {"DreamBench++ is not selected"}


def test_figure3_shows_the_attention_of_transformers_own_head():
    config = SiglipVisionConfig(hidden_size=16, intermediate_size=24, num_attention_heads=2, num_hidden_layers=1)
    from nearid.heads.map_head import MAPHead

    torch.manual_seed(0)
    own = SiglipMultiheadAttentionPoolingHead(config).eval()
    tokens = np.random.default_rng(0).normal(size=(3, 9, 16)).astype(np.float16)
    found = figure3._attend(MAPHead(config), own.state_dict(), tokens)
    batch = torch.from_numpy(tokens).float()
    with torch.no_grad():
        _, slow = own.attention(own.probe.repeat(3, 1, 1), batch, batch, need_weights=True)
    np.testing.assert_allclose(found.reshape(3, 9), slow[:, 0], atol=1e-5)
    assert found.shape == (3, 3, 3)


def test_each_is_plotted_from_its_data_alone(layout, with_images, with_edits, monkeypatch):
    write_text(layout.head_file("nearid", "log.jsonl"), '{"step": 1, "loss": 1.0, "ranking": 2.0}\n')
    own = {
        "figure8": FIGURE8,
        "contact_sheets": FIGURE8,
        "training": TRAINING,
    }
    names = ("figure4", "figure6", "figure8", "figure9", "figure10")
    names += ("contact_sheets", "margins", "similarities", "training", "weights")
    for name in names:
        write_data(ComputeFigure.parse({**own.get(name, SCORED), "figure": name}), layout)
    assert identities(layout)
    # Plotting reads no results, so only the figure's own file is left.
    for path in layout.root.glob("*/*"):
        if "paper" not in path.parts[-2:]:
            path.rename(path.with_name(f"hidden_{path.name}"))
    # It does not load a model either.
    for module in ("torch", "transformers", "sklearn", "nearid.heads.map_head", "nearid.tokens.backbones"):
        monkeypatch.setitem(sys.modules, module, None)
    for name in names:
        plot_figure(PlotFigure.parse({"figure": name, "style": {"dpi": 40}}), layout)
        assert layout.figure(name, "pdf").read_bytes().startswith(b"%PDF")
