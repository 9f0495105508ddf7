"""A user's files and folders are inputs: a change re-runs what reads them (docs/reruns.md); steps are fakes."""

import json
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from nearid.config.documentation import json_schema
from nearid.config.inputs import KEYS, cached_model, own_paths

OVERLAY = """
name: mine
results_dir: results
photos_dir: things
released: {cut_paste_seamless: released}
dreambench: {ratings: people}
backbones:
  demo_siglip: {path: backbone}
  own: {display: Own, kind: auto, path: encoder}
scorers:
  colour_histogram: {benchmarks: [nearid_bench]}
  siglip2: {benchmarks: [nearid_bench]}
  foreign: {display: Foreign, kind: head, backbone: demo_siglip, path: models/foreign, benchmarks: [nearid_bench]}
  own: {display: Own, kind: encoder, backbone: own, readout: map, benchmarks: [nearid_bench]}
  judge: {display: Judge, kind: vlm_judge, model: judge, benchmarks: [nearid_bench]}
  my_vsm: {display: VSM, kind: vsm, package: vsm, model: vsm_weights, benchmarks: [nearid_bench], hub: {a/b: cleandift}}
  rated: {display: Rated, kind: ratings, ratings: ratings, benchmarks: [dreambench]}
select:
  scorers: [colour_histogram, siglip2, foreign, own, judge, my_vsm, rated]
  benchmarks: [nearid_bench, dreambench]
  tables: [table5]
  figures: []
paper: {tables: {table5: {scorers: [colour_histogram]}}}
"""
FILES = [
    *(f"things/{thing}/{view}.jpg" for thing in ("mug", "cup") for view in (0, 1)), "things/classes.csv",
    "released/data/000.parquet", "people/1.json", "encoder/config.json",
    "encoder/model-00001-of-00002.safetensors", "models/foreign/config.json", "models/foreign/head.safetensors",
    "judge/model.safetensors", "vsm/code.py", "vsm_weights/final.pt", "cleandift/unet.safetensors", "ratings/gpt.json",
]  # fmt: skip
ALL = ["colour_histogram", "siglip2", "foreign", "own", "judge", "my_vsm"]


def old(path):
    path.write_text("another")
    os.utime(path, (1e9, 1e9))


CHANGES = {
    # what is changed in the project's folder -> the first rules that run again, and the scorers that are scored again
    "a picture": (lambda root: (root / "things/mug/0.jpg").write_text("other"), {"curate_positives"}, ALL),
    "a picture with an older time": (lambda root: old(root / "things/mug/0.jpg"), {"curate_positives"}, ALL),
    "a mask added": (lambda root: (root / "things/mug/0.mask.png").write_text(""), {"curate_positives"}, ALL),
    "an identity with its line": (
        lambda root: [
            shutil.copytree(root / "things/mug", root / "things/pot"),
            (root / "things/classes.csv").write_text("subject,class\nmug,a\ncup,a\npot,a\n"),
        ],
        {"curate_positives"},
        ALL,
    ),
    "what scorers load": (
        lambda root: [
            old(root / "models/foreign/head.safetensors"),
            old(root / "judge/model.safetensors"),
            old(root / "cleandift/unet.safetensors"),
        ],
        set(),
        ["foreign", "judge", "my_vsm"],
    ),
    "a shard of an encoder": (
        lambda root: old(root / "encoder/model-00001-of-00002.safetensors"),
        {"extract_tokens"},
        ["own"],
    ),
    "released distractors, ratings": (
        lambda root: [old(root / "released/data/000.parquet"), (root / "ratings/gpt.json").unlink()],
        {"inpaint_shard", "score_dreambench"},
        ALL,
    ),
    "nothing": (lambda root: [os.utime(root / name) for name in FILES], set(), []),
}

CONFIGS = ("config/demo.yaml", "config/photos.yaml", "mine.yaml")


@pytest.fixture(scope="module")
def photographed(finished, open_project, tmp_path_factory):
    """A finished run on photographs, with every kind of file that a user may bring."""
    root = tmp_path_factory.mktemp("photographed") / "project"
    shutil.copytree(finished, root, symlinks=True)
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"content of {name}")
    (root / "mine.yaml").write_text(OVERLAY)
    open_project(root, *CONFIGS).run()
    return root


@pytest.fixture
def photos(photographed, open_project, tmp_path):
    """A copy of it for one test."""
    shutil.copytree(photographed, tmp_path / "project", symlinks=True)
    return open_project(tmp_path / "project", *CONFIGS)


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_reruns_what_reads_it(photos, change):
    act, first, scored = CHANGES[change]
    act(photos.root)
    plan = photos.plan()
    assert plan.get("score_nearid_bench", set()) == {f"scorer={name}" for name in scored}
    making = {"curate_positives", "inpaint_shard", "extract_tokens", "score_dreambench"} & set(plan)
    chain = ["curate_positives", "inpaint_shard", "extract_tokens"]
    behind = {rule for rule in first & set(chain) for rule in chain[chain.index(rule) :]}
    assert making == first | behind
    if change == "nothing":
        assert plan == {}
    if scored == ["own"]:
        assert all("backbone=own" in job for job in plan["extract_tokens"])


@pytest.mark.slow
def test_what_is_not_there_is_told_while_planning(photos):
    lost = photos.overlay("scorers: {foreign: {path: models/lost}}")
    done = photos.snakemake("--dry-run", "--configfile", *photos.configs((lost,)))
    output = done.stdout + done.stderr
    assert done.returncode != 0 and "before the first job" in output, output
    assert "no models/lost" in output and "for scorers.foreign.path" in output
    # Results are kept when their photographs are gone.
    (photos.root / "things").rename(photos.root / "elsewhere")
    done = photos.snakemake("--dry-run", "--configfile", *photos.configs(()))
    output = done.stdout + done.stderr
    assert done.returncode == 0 and "Nothing to be done" in output and "things is not there any more" in output, output


def test_a_model_of_the_hub_s_cache_is_an_input_where_it_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    settings = {"backbone": {"kind": "auto", "path": "someone/encoder", "revision": ""}}
    assert own_paths("extract_tokens", settings) == []
    snapshot = tmp_path / "models--someone--encoder/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs/main").write_text("abc")
    assert own_paths("extract_tokens", settings) == [str(snapshot)]
    settings["backbone"]["revision"] = "abc"
    assert own_paths("extract_tokens", settings) == [str(snapshot)]
    settings["backbone"]["revision"] = "def"
    assert own_paths("extract_tokens", settings) == []
    assert cached_model("someone/other") is None


@pytest.mark.parametrize(
    ("step", "text", "paths"),
    [
        ("make_mtg", "{kind: syncd, options: {path: a, captions: b, mtg: c}}", ["c"]),
        ("curate_positives", "{kind: syncd, options: {path: a, captions: b, mtg: c, official_splits: ''}}", ["b", "a"]),
        ("curate_positives", "{kind: nearid, options: {path: resources/nearid, official_splits: d}}", ["d"]),
        ("curate_positives", "{kind: image_folder, options: {path: a, mask_model: m}}", ["m", "a"]),
        (
            "inpaint_shard",
            "{source: {options: {model: m, lora: l}}, dataset: {options: {path: a}}}",
            ["m", "l"],
        ),
        ("summarise_scores", "{dreambench: d, scorer_id: path}", ["d"]),
        ("train_head", "{params: {model: 3}, backbone: {path: b}}", ["b"]),
    ],
)
def test_a_step_s_own_files_are_what_it_reads(step, text, paths):
    assert own_paths(step, yaml.safe_load(text)) == paths


# Keys with any text that is no file or folder of the user; a new key of the schema must be added here or to `KEYS`.
NO_PATHS = {
    "attention", "claim", "display", "hand", "lacks", "licence", "negative_prompt", "paper_row", "revision",
    "served_model",
    "folder", "lora_file",  # inside a download, inside `lora`
    "mirror",  # downloads from it are checked by their own marks
    "photos_dir", "released",  # become `path`
}  # fmt: skip


def open_texts(node: Any) -> Iterator[str]:
    """Keys below a part of the schema whose values are texts without a pattern, or mappings to such texts."""
    if isinstance(node, dict):
        for key, value in node.get("properties", {}).items():
            entries = value.get("patternProperties", {}).values()
            if any(
                isinstance(one, dict) and one.get("type") == "string" and not one.keys() & {"enum", "const", "pattern"}
                for one in (value, value.get("additionalProperties"), *entries)
            ):
                yield key
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from open_texts(inner)


def test_each_key_of_the_schema_that_may_be_a_path_is_listed_or_is_none():
    found = set(open_texts(json.loads(json_schema())))
    # In settings of a step, `dreambench` is the folder of its ratings.
    assert found | {"dreambench"} == KEYS | NO_PATHS and not KEYS & NO_PATHS
