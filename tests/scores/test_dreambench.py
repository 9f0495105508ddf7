"""DreamBench++ from folders of images and from released ratings, to the metrics."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from score_steps import score_dreambench

from nearid.cli import nearid
from nearid.errors import UserError
from nearid.io.files import read_json
from nearid.io.images import encode_png
from nearid.io.tables import read_table
from nearid.layout import Layout
from nearid.scores.dreambench import find_samples
from nearid.scores.human_alignment import align
from nearid.scores.ratings import METHODS, read_human_ratings
from nearid.scores.scorers.colour_histogram import embed_colours

pytestmark = pytest.mark.numerics

FOLDERS = {method: method for method in METHODS}
FOLDERS |= {"ip_adapter_plus_vit_h_sdxl": "ip_adapter-plus_vit-huge_sdxl_scale_0_6", "emu2": "emu2_guidance_3"}
KEYS = [f"{category}_{n:02d}_thing-{p}" for category in ("object", "style") for n in range(3) for p in range(2)]


@pytest.fixture
def release(tmp_path):
    """Samples of 12 pairs per method, each run with its own copies of the references, and human ratings."""
    rng = np.random.default_rng(0)
    root = tmp_path / "release"

    def draw():
        return encode_png(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))

    references = {subject: draw() for subject in dict.fromkeys(key.rpartition("-")[0] for key in KEYS)}
    for method, folder in FOLDERS.items():
        for key in KEYS:
            subject, _, prompt = key.rpartition("-")
            for side, content in (("src_image", references[subject]), ("tgt_image", draw())):
                path = root / "samples" / folder / side / subject / f"{prompt}_0.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        for group in ("group1", "group2"):
            path = root / "data_human_rating/merged_data" / group / f"{method}-cp.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({key: int(rng.integers(0, 5)) for key in KEYS}))
    return root


def settings_for(release, **scorer):
    return {"scorer": scorer, "scorer_id": "s", "path": str(release), "conditions": ["full", "fg"]}


def run(layout, command, settings):
    options = ["--results", str(layout.root), "--scorer", "s", "--settings", json.dumps(settings)]
    done = CliRunner().invoke(nearid, ["scores", command, *options])
    assert done.exit_code == 0, done.output


def test_images_are_compared_and_held_against_humans(release, tmp_path):
    layout = Layout(tmp_path / "results")
    run(layout, "dreambench", settings_for(release, kind="colour_histogram", bins=2))
    rows = read_table(layout.scores("s", "dreambench")).to_pylist()
    assert len(rows) == 7 * 12 and [row["method"] for row in rows[:12]] == [METHODS[0]] * 12
    samples = find_samples(release)
    from nearid.io.images import decode_rgb

    for row in rows[::17]:
        pair = samples[row["method"]][row["key"]]
        first, second = (embed_colours(decode_rgb(path), np.ones((8, 8), bool), 2) for path in pair)
        assert row["score"] == pytest.approx(100 * float(first @ second), abs=1e-4)
        assert row["category"] == row["key"].split("_")[0]
    summary = {"scorer_id": "s", "groups": {}, "headline_group": "all", "seed": 0}
    run(layout, "summarise", summary | {"benchmarks": ["dreambench"], "dreambench": str(release)})
    metrics = read_json(layout.metrics("s"))
    scores = {method: {row["key"]: row["score"] for row in rows if row["method"] == method} for method in METHODS}
    expected = align(scores, read_human_ratings(release / "data_human_rating/merged_data"), "object")
    assert metrics["m_h"] == pytest.approx(expected.m_h) and metrics["m_h_error"] == pytest.approx(expected.error)
    low, high = metrics["m_h_ci"]
    assert low <= metrics["m_h"] <= high
    assert set(metrics["dreambench"]["categories"]) == {"object", "style"}
    assert metrics["dreambench"]["categories"]["object"]["scored"] == 7 * 6
    assert metrics["dreambench"]["all_categories"] is None, "two of the four categories"
    assert metrics["nearid_bench"] is None and "m_h" not in metrics["reasons"]


def test_released_ratings_are_scores_too(release, tmp_path):
    folder = tmp_path / "gpt4o"
    folder.mkdir()
    for n, method in enumerate(METHODS):
        scores = {f"{key}_0": (7 * k + n) % 5 for k, key in enumerate(KEYS)}
        (folder / f"{method}{'-cp' * (n % 2)}.json").write_text(json.dumps(scores))
    output = tmp_path / "out.parquet"
    score_dreambench(settings_for(release, kind="ratings", ratings=str(folder)), Layout(tmp_path), output)
    rows = read_table(output).to_pylist()
    assert {row["key"] for row in rows} == set(KEYS)
    (folder / "emu2.json").rename(folder / "emu3.json")
    with pytest.raises(UserError, match="emu2"):
        score_dreambench(settings_for(release, kind="ratings", ratings=str(folder)), Layout(tmp_path), output)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (
            lambda root: (root / "samples/emu2_guidance_3").rename(root / "samples/other"),
            "0 folders of samples of emu2",
        ),
        (lambda root: (root / "samples/emu2_b/src_image").mkdir(parents=True), "2 folders of samples"),
        (
            lambda root: (root / "samples/emu2_guidance_3/tgt_image/object_01_thing/1_0.png").unlink(),
            "object_01_thing-1 on one side",
        ),
        (
            lambda root: (root / "samples/emu2_guidance_3/tgt_image/object_01_thing/1_0.png").write_bytes(b"no image"),
            "no readable image",
        ),
    ],
)
def test_samples_that_do_not_fit_are_named(release, tmp_path, spoil, named):
    spoil(release)
    with pytest.raises(UserError, match=named):
        score_dreambench(settings_for(release, kind="colour_histogram"), Layout(tmp_path), tmp_path / "out.parquet")
