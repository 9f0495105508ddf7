"""Figures: what they compute against slow references, and equal data giving equal bytes."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from paper_run import RUN, identities
from PIL import Image
from safetensors.torch import save_file
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

from nearid.config.settings.paper import ComputeFigure, PlotFigure
from nearid.errors import UserError
from nearid.io.tables import read_table
from nearid.paper.figures import (
    compute_figure,
    contact_sheets,
    figure1,
    figure2,
    figure5,
    figure7,
    plot_figure,
    read_arrays,
)
from nearid.paper.identities import choose_identities
from nearid.paper.style import Look
from nearid.tokens.shard import KEY
from nearid.tokens.writer import write_shard

VISION = SiglipVisionConfig(hidden_size=16, intermediate_size=24, num_attention_heads=2, num_hidden_layers=1)
FIGURE5 = {
    "figure": "figure5",
    "seed": 3,
    "source": "sibling",
    "split": "val",
    "identities": 7,
    "timelapse": True,
    "ablation": "nearid",
    "backbone": {"kind": "siglip", "path": "", "revision": "", "precision": "float32", "batch_size": 8},
    "backbone_id": "tiny",
    "token_shards": {"positives": 2, "sibling": 2},
    "display": {"frozen": "Frozen", "trained": "NearID", "distractors": "Sibling"},
}
FIGURE7 = {"figure": "figure7", "seed": 3, "rows": 4, "condition": "full", "size_px": 16, "run": RUN}


def head(seed):
    torch.manual_seed(seed)
    return SiglipMultiheadAttentionPoolingHead(VISION).eval()


@pytest.fixture
def with_tokens(layout, monkeypatch):
    """Tokens of all views and one source, and three kept heads, the last of which is the trained one."""
    random = np.random.default_rng(0)
    tokens = {}
    for collection in ("positives", "sibling"):
        for shard in ("000", "001"):
            keys = [
                (row["id"], slot, "full")
                for row in identities(layout)
                if row["shard"] == shard
                for slot in range(row["n_images"])
                if (collection, row["id"], slot) != ("sibling", missing_id(layout), 0)
            ]
            values = random.normal(size=(len(keys), 5, 16)).astype(np.float16)
            tokens |= {(collection, *key[:2]): value for key, value in zip(keys, values, strict=True)}
            attributes = {"backbone": "tiny", "weights_hash": "w", "preprocess_hash": "p"}
            path = layout.tokens("tiny", collection, shard)
            write_shard(path, np.array(keys, KEY), [values], (5, 16), attributes)
    states = {step: head(step).state_dict() for step in (0, 100, 200)}
    folder = layout.head("nearid")
    folder.mkdir(parents=True)
    save_file(states[200], layout.head_file("nearid"))
    kept = {f"step_{step:06d}.{name}": value for step, state in states.items() for name, value in state.items()}
    save_file(kept, layout.head_file("nearid", "timelapse.safetensors"))
    frozen = SimpleNamespace(config=VISION, head_state=lambda: states[0])
    monkeypatch.setattr("nearid.tokens.backbones.load_backbone", lambda settings: frozen)
    return tokens


def missing_id(layout):
    return choose_identities(layout, "val", 7, 3, "figure5")[2].id


def slow_plane(embeddings):
    """KernelPCA by its definition: the centred cosine matrix's two largest eigenvectors, scaled."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    centre = np.eye(len(unit)) - 1 / len(unit)
    values, vectors = np.linalg.eigh(centre @ unit @ unit.T @ centre)
    return vectors[:, :-3:-1] * np.sqrt(values[:-3:-1])


def distances(points):
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def test_figure5_against_a_slow_reference(layout, with_tokens):
    arrays = figure5.compute(ComputeFigure.parse(FIGURE5), layout)
    assert len(arrays["ids"]) == 7 and arrays["steps"].tolist() == [0, 100, 200]
    rows = {row["id"]: row for row in identities(layout)}
    assert {rows[id]["split"] for id in arrays["ids"]} == {"val"}
    images = []
    for collection in ("positives", "sibling"):
        for id in arrays["ids"]:
            for slot in range(rows[id]["n_images"]):
                if (collection, id, slot) in with_tokens:
                    images.append(with_tokens[collection, id, slot])
    assert len(images) == len(arrays["trained"])
    batch = torch.from_numpy(np.array(images)).float()
    for key, seed in (("frozen", 0), ("trained", 200)):
        with torch.no_grad():
            expected = slow_plane(head(seed)(batch).double().numpy())
        # The plane is defined up to rotation and reflection, which keep distances.
        np.testing.assert_allclose(distances(arrays[key]), distances(expected), atol=1e-5)
    np.testing.assert_allclose(arrays["frames"][0], arrays["frozen"], atol=1e-6)
    np.testing.assert_allclose(arrays["frames"][-1], arrays["trained"], atol=1e-6)
    assert (~arrays["distractor"]).sum() == sum(rows[id]["n_images"] for id in arrays["ids"])
    assert arrays["distractor"].sum() == (~arrays["distractor"]).sum() - 1


def test_turn_undoes_a_rotation_and_keeps_the_spread():
    points = np.random.default_rng(0).normal(size=(9, 2))
    angle = 1.1
    rotation = np.array([[np.cos(angle), np.sin(angle)], [np.sin(angle), -np.cos(angle)]])
    np.testing.assert_allclose(figure5.turn(2 * points @ rotation, points), 2 * points)


def test_figure5_names_what_is_missing(layout, with_tokens):
    with pytest.raises(UserError, match="no identities in split none"):
        choose_identities(layout, "none", 1, 0, "figure5")
    layout.head_file("nearid", "timelapse.safetensors").unlink()
    with pytest.raises(UserError, match=r"timelapse\.safetensors"):
        figure5.compute(ComputeFigure.parse(FIGURE5), layout)


def test_identities_are_drawn_by_seed_with_three_views_first(layout):
    chosen = choose_identities(layout, "val", 4, 0, "a figure")
    assert [identity.n_images for identity in chosen] == [3] * 4
    assert [identity.row for identity in chosen] == sorted(identity.row for identity in chosen)
    draws = {tuple(i.id for i in choose_identities(layout, "val", 4, seed, "a figure")) for seed in range(12)}
    assert len(draws) > 1
    assert len(choose_identities(layout, "val", 99, 0, "a figure")) == 10, "as many as there are"


def test_a_dollar_in_a_name_is_a_dollar():
    look = Look()
    with look.applied():
        figure = look.canvas(1.0)
        figure.text(0, 0, "a mug of $5, $x^{")
        figure.savefig(io.BytesIO(), format="pdf")


def test_a_figure_shows_what_is_there_and_says_so(layout, caplog):
    assert len(choose_identities(layout, "val", 99, 0, "a figure")) == 10
    assert "a figure: the split val has 10 of 99 identities" in caplog.text


def test_figure7_shows_each_image_with_its_score(layout, with_images):
    arrays = figure7.compute(ComputeFigure.parse(FIGURE7), layout)
    assert arrays["images"].shape == (4, 6, 16, 16, 3)
    scores = {row["id"]: row for row in read_table(layout.scores("nearid", "nearid_bench")).to_pylist()}
    by_key = {
        (row["id"], row["source"]): row for row in read_table(layout.scores("nearid", "nearid_bench")).to_pylist()
    }
    nearid = [scorer["id"] for scorer in RUN["scorers"]].index("nearid")
    for row, id in enumerate(arrays["ids"]):
        assert arrays["images"][row, 0, 8, 8, 0] == 40 and arrays["images"][row, 3, 8, 8, 0] == 200
        assert arrays["present"][row].tolist() == [True, True, not np.isnan(scores[id]["sim_02"]), True, True, False]
        values = arrays["similarities"][row, :, nearid]
        assert np.isnan(values[0]) and values[4] == by_key[id, "sibling_half"]["cross_00"]


def test_contact_sheets_show_the_same_views_for_every_source(layout, with_images):
    settings = ComputeFigure.parse(FIGURE7 | {"figure": "contact_sheets"})
    arrays = contact_sheets.compute(settings, layout)
    assert arrays["images"].shape == (3, 2, 4, 16, 16, 3)
    assert (arrays["images"][:, 0, :, 8, 8, 0] == 40).all() and (arrays["images"][:2, 1, :, 8, 8, 0] == 200).all()
    assert arrays["present"].all(1).tolist() == [True, True, False]
    views = sum(row["n_images"] for row in identities(layout) if row["split"] == "test")
    assert arrays["painted"].tolist() == [views, views, 0] and arrays["empty"].tolist() == [0, 0, views]


def test_stills_are_start_middle_and_end():
    assert figure5.choose_stills(np.arange(0, 3301, 100)) == [0, 16, 33]
    assert figure5.choose_stills(np.array([0, 100])) == [0, 1] and figure5.choose_stills(np.array([0])) == [0]


def test_fooled_is_a_distractor_not_below_every_view():
    values = np.array([[[np.nan], [0.8], [0.6], [0.6], [0.59]], [[np.nan], [0.5], [np.nan], [0.51], [np.nan]]])
    assert figure7.find_fooled(values)[..., 0].tolist() == [
        [False, False, False, True, False],
        [False, False, False, True, False],
    ]


def test_plots_repeat_byte_by_byte_and_need_only_their_data(layout, with_tokens, with_images, monkeypatch):
    for settings in (FIGURE5, FIGURE7):
        compute_figure(ComputeFigure.parse(settings), layout)

    def plotted(style):
        for name in ("figure5", "figure7"):
            plot_figure(PlotFigure.parse({"figure": name, "style": style}), layout)
        files = [layout.figure(name, suffix) for name in ("figure5", "figure7") for suffix in ("pdf", "png")]
        return [path.read_bytes() for path in (*files, layout.figure("figure5", "gif"))]

    data = layout.figure_data("figure5").read_bytes()
    compute_figure(ComputeFigure.parse(FIGURE5), layout)
    assert layout.figure_data("figure5").read_bytes() == data
    for module in ("torch", "nearid.heads.map_head", "nearid.tokens.backbones"):
        monkeypatch.setitem(sys.modules, module, None)
    first = plotted({"dpi": 50})
    assert plotted({"dpi": 50}) == first
    assert plotted({"dpi": 50, "marker_size": 80, "palette": ["#333333"]})[1] != first[1]
    with Image.open(layout.figure("figure5", "gif")) as animation:
        assert animation.n_frames == 3


def test_plotting_before_computing_is_told(layout):
    with pytest.raises(UserError, match="figure-data --figure figure5"):
        read_arrays(layout, "figure5")


def test_figure1_shows_who_is_fooled_where_the_last_scorer_is_not(layout, with_images):
    run = RUN | {"sources": RUN["sources"][:1], "scorers": RUN["scorers"][:3:2]}
    settings = ComputeFigure.parse(FIGURE7 | {"rows": 6, "run": run})
    arrays = figure1.compute(settings, layout)
    whole = figure7.compute(settings, layout)
    margins = whole["similarities"][:, 1] - whole["similarities"][:, 3]
    best = max(range(6), key=lambda row: margins[row, 1] - margins[row, 0])
    assert arrays["id"] == whole["ids"][best] and list(arrays["scorers"]) == ["SigLIP 2 (frozen)", "NearID"]
    np.testing.assert_allclose(arrays["similarities"][:, 0], whole["similarities"][best, 1])
    np.testing.assert_array_equal(arrays["images"][2], whole["images"][best, 3])


@pytest.mark.parametrize("module", [figure1, figure2])
def test_figures_1_and_2_are_drawn_from_the_run_s_images(layout, with_images, module):
    name = module.__name__.rpartition(".")[2]
    run = RUN | {"sources": RUN["sources"][:1], "scorers": RUN["scorers"][:3:2]}
    compute_figure(ComputeFigure.parse(FIGURE7 | {"figure": name, "rows": 6, "run": run}), layout)
    plot_figure(PlotFigure.parse({"figure": name, "style": {"dpi": 50}}), layout)
    first = layout.figure(name, "png").read_bytes()
    assert Image.open(layout.figure(name, "png")).size[0] == 350
    plot_figure(PlotFigure.parse({"figure": name, "style": {"dpi": 50}}), layout)
    assert layout.figure(name, "png").read_bytes() == first
