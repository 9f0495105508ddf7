"""The config: closed, cross-checked, divided into the settings of each step."""

import copy
import json
import os
import runpy
from pathlib import Path

import jsonschema
import pytest
import yaml

from nearid.config import check_members, complete, load, missing_members, required_downloads, step_settings
from nearid.config.differences import differences
from nearid.config.documentation import document, json_schema
from nearid.config.packs import packs
from nearid.config.steps import token_shards, token_variants
from nearid.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
DEMO, TEST, PHOTOS = (f"config/{name}.yaml" for name in ("demo", "test", "photos"))


@pytest.fixture(autouse=True)
def in_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def overlay(tmp_path, text):
    path = tmp_path / "overlay.yaml"
    path.write_text(text)
    return path


def refused(*overlays):
    with pytest.raises(UserError) as caught:
        load(*overlays)
    return caught.value


def test_the_schema_is_closed_and_explains_itself():
    whole = json.loads(json_schema())
    jsonschema.Draft202012Validator.check_schema(whole)
    open_blocks = {"Params", "OwnOptions"}  # of an objective or engine of the user's own
    for name, part in (("Root", whole), *whole["$defs"].items()):
        if "properties" in part:
            assert part["additionalProperties"] is False or name in open_blocks, f"{name} takes any key"
        for key, inner in part.get("properties", {}).items():
            assert inner.get("description"), f"{name}.{key} has no description"


@pytest.mark.parametrize(
    "path", ["config.yaml", *sorted(f"config/{path.name}" for path in (ROOT / "config").glob("*.yaml"))]
)
def test_editors_find_nothing_wrong_in_the_configs_that_are_here(path):
    text = (ROOT / path).read_text()
    if path == "config/backbone.yaml":  # settings of the pretraining, no overlay
        return
    named = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    schema = json.loads((ROOT / path).parent.joinpath(named).read_text())
    assert not list(jsonschema.Draft202012Validator(schema).iter_errors(yaml.safe_load(text)))


def test_editors_mark_mistakes():
    validator = jsonschema.Draft202012Validator(json.loads(json_schema()))
    for wrong in (
        {"nmae": "x"},
        {"training": {"epochs": 0}},
        {"sources": {"x": {"engine": "flux_fill", "options": {"strength": 0.5}}}},
    ):
        assert list(validator.iter_errors(wrong)), wrong


def test_config_readme_is_up_to_date():
    assert (ROOT / "config/README.md").read_text() == document(), "run `make docs`"
    assert (ROOT / "config/schema.json").read_text() == json_schema(), "run `make docs`"


def test_page_of_formats_is_up_to_date(capsys):
    runpy.run_path(str(ROOT / "docs/formats.py"), run_name="__main__")
    assert (ROOT / "docs/formats.md").read_text() == capsys.readouterr().out, "run `make docs`"


def test_paper_config_is_the_full_reproduction():
    config = load()
    assert len(config["select"]["sources"]) == 9
    assert len(config["select"]["ablations"]) == 19
    losses = [(a["objective"], tuple(a["params"].items()), a["mix"]) for a in config["ablations"].values()]
    assert len(set(losses)) == 19
    assert config["select"]["benchmarks"] == ["nearid_bench", "mtg", "dreambench"]
    assert set(config["groups"]["main7"]) == {*config["groups"]["train"], *config["groups"]["unseen_fill"]}
    training = step_settings("train_head", config, ablation="nearid")
    assert training["params"] == {"alpha": 0.5}
    wanted = {"epochs": 11, "batch_size": 128, "learning_rate": 1e-4, "weight_decay": 1e-4, "warmup_steps": 100}
    assert wanted.items() <= training["training"].items()


@pytest.mark.parametrize(
    "overlays",
    [
        [DEMO],
        [DEMO, TEST],
        [DEMO, PHOTOS],
        [DEMO, "config/online.yaml"],
        [DEMO, "config/augmented.yaml"],
        ["config/sensitivity.yaml"],
    ],
)
def test_overlays_ask_for_what_exists(overlays):
    check_members(load(*overlays))


def test_missing_members_are_listed_together():
    config = load(DEMO)
    config["sources"]["sibling"]["engine"] = "dream"
    config["ablations"]["nearid"]["objective"] = "hope"
    assert set(missing_members(config)) == {"nearid.distractors.engines.dream", "nearid.heads.objectives.hope"}
    with pytest.raises(UserError, match=r"(?s)dream.*sources\.sibling.*hope.*ablations\.nearid"):
        check_members(config)


JUDGE = "scorers: {x: {display: X, kind: vlm_judge,"


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("nmae: x", "nmae", "did you mean `name`?"),
        ("training: {learning_rat: 1.0}", "training.learning_rat", "did you mean `learning_rate`?"),
        ("training: {learning_rate: 1e-4}", "training.learning_rate", "1.0e-4"),
        ("select: {sources: [sibing, cut_paste]}", "select.sources", "did you mean `sibling`?"),
        ("select: {scorers: [nearidd]}", "select.scorers", "did you mean `nearid`?"),
        ("select: {ablations: [nearidd], scorers: [siglip2]}", "select.ablations", "did you mean `nearid`?"),
        ("select: {figures: [figur5]}", "select.figures", "did you mean `figure5`?"),
        ("ablations: {nearid: {mix: neard_mtg}}", "ablations.nearid.mix", "did you mean `nearid_mtg`?"),
        ("ablations: {nearid: {params: {aplha: 1.0}}}", "ablations.nearid.params", "did you mean `alpha`?"),
        ("mixes: {nearid_mtg: {severities: {flux: 0.1}}}", "mixes.nearid_mtg.severities", "sibling"),
        ("training: {augmentation: {jitter: 0.3}}", "training.augmented_draws", "number of draws"),
        ("training: {pack: some}", "training.pack", "all"),
        ("groups: {all: [flax]}", "groups.all", "did you mean `flux`?"),
        ("scorers: {nearid: {ablation: nerid}}", "scorers.nearid.ablation", "nearid"),
        ("select: {ablations: [infonce]}", "scorers.nearid.ablation", "only what this run makes"),
        ("select: {sources: [sibling, cut_paste]}", "select.groups", "only what this run makes"),
        ("scorers: {x: {display: X, kind: encoder}}", "scorers.x.backbone", "needs it"),
        ("scorers: {x: {display: X, kind: colour_histogram, readout: map}}", "scorers.x.readout", "benchmarks, bins"),
        ("scorers: {x: {display: X, kind: head, path: heads/mine}}", "scorers.x.backbone", "needs it"),
        (f"{JUDGE} model: m, timeout_s: 9}}}}", "scorers.x.timeout_s", "one of batch_size"),
        (f"{JUDGE} endpoint: 'http://x/v1'}}}}", "scorers.x.served_model", "needs it"),
        (f"{JUDGE} endpoint: 'http://x/v1', served_model: m, model: m}}}}", "scorers.x", "one of the two"),
        ("training: {masks: raw, tokens: online}", "training.masks", "keep_raw_masks"),
        ("dataset: {keep_raw_masks: true}\ntraining: {masks: raw}", "training.masks", "online"),
        ("scorers: {infonce: {step: 100}}", "scorers.infonce.step", "keep_every_steps"),
        ("dataset: {shards: 0}", "dataset.shards", "at least 1"),
        ("sources: {cut_paste: {options: {trais: 2}}}", "sources.cut_paste.options.trais", "one of blend"),
        ("sources: {sibling: {options: {trais: 2}}}", "sources.sibling.options.trais", "did you mean `traits`?"),
        ("training: {pack: true}", "training.pack", "whole number"),
        ("training: {pack: 0}", "training.pack", "at least 1"),
        ("dataset: {splits: {test: -1}}", "dataset.splits.test", "at least 0"),
        ("select: {benchmarks: [mtgg]}", "select.benchmarks.0", "did you mean `mtg`?"),
        ("name: null", "name", "text"),
        ("sources: {Sib: {display: S, engine: sibling}}", "sources", "a-z"),
    ],
)
def test_mistakes_are_named(tmp_path, text, where, says):
    error = refused(DEMO, overlay(tmp_path, text))
    assert where in error.where
    assert says in error.expected
    assert error.found
    assert error.action


def test_unreadable_overlays(tmp_path):
    assert "no such file" in refused("config/demmo.yaml").found
    assert "no YAML" in refused(overlay(tmp_path, "a: [1,")).found
    assert refused(overlay(tmp_path, "- 1")).found == "list"


def bomb(levels=12):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 10)}]" for at in range(1, levels)]
    return "downloads:\n" + "".join(f"  {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed: " + "[" * 200_000, "levels"),
        ("seed: " + "{a: " * 100 + "1" + "}" * 100, "levels"),
        (bomb(), "values"),
        ("downloads: &d\n  x: *d\n", "levels"),
        ("seed: " + "9" * 5000, "no YAML"),
        ("training: {epochs: 1}\nseed: 2\ntraining: {batch_size: 8}\n", "'training' twice in one mapping"),
        ("training:\n  epochs: 1\n  epochs: 2\n", "in line 3"),
        ("name: 2024-02-31\n", "no YAML"),
        ("training: {learning_rate: .nan}\n", "finite"),
        ("training: {learning_rate: .inf}\n", "finite"),
        ('paper: {title: "a\\e[2J"}\n', "control"),
        ('"a\\e[2J": 1\n', "control"),
        ("downloads: {x: {url: https://me:secret@host/x}}", "downloads.x"),
        ("downloads: {x: {git: https://me:secret@host/x}}", "downloads.x"),
    ],
)
def test_overlays_that_break_readers(tmp_path, text, says):
    error = refused(overlay(tmp_path, text))
    assert says in str(error) and "\x1b" not in str(error)


def test_an_overlay_is_a_file_of_text(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b"name: \xe4\n")
    for name in ("pipe", "latin", "."):
        refused(tmp_path / name)


def test_lists_are_replaced_and_mappings_merged(tmp_path):
    config = load(DEMO, overlay(tmp_path, "select: {tables: [table5]}\nmixes: {nearid_mtg: {mtg_repeats: 2}}"))
    assert config["select"]["tables"] == ["table5"]
    assert config["mixes"]["nearid_mtg"] == {
        "sources": ["sibling", "cut_paste"],
        "nearid_repeats": 1,
        "mtg_repeats": 2,
        "severities": {},
    }


def test_completing_twice_changes_nothing():
    config = load(DEMO)
    assert complete(copy.deepcopy(config)) == config


def test_photos_dir_is_the_image_folder():
    config = complete({**load(DEMO, PHOTOS), "photos_dir": "my/photos"})
    assert step_settings("curate_positives", config)["options"]["path"] == "my/photos"


def test_downloads_follow_paths():
    config = load()
    settings = step_settings("inpaint_shard", config, source="qwen")
    assert required_downloads(settings, config) == [
        "cap3d",
        "mtg",
        "qwen_controlnet",
        "qwen_image",
        "qwen_lightning",
        "syncd",
    ]
    config["backbones"]["clip_vit_l"]["path"] = "resources/nowhere"
    with pytest.raises(UserError, match="nowhere"):
        required_downloads(config["backbones"]["clip_vit_l"], config)


STEPS = [
    ("curate_positives", {}),
    ("make_mtg", {"split": "train"}),
    ("make_raters", {}),
    *(("inpaint_shard", {"source": source, "shard": "000"}) for source in ("sibling", "cut_paste")),
    *(
        ("extract_tokens", {"backbone": "demo_siglip", "collection": collection, "shard": "000"})
        for collection in ("positives", "sibling", "cut_paste", "mtg_train")
    ),
    *(("train_head", {"ablation": ablation}) for ablation in ("infonce", "nearid")),
    *(
        (step, {"scorer": scorer})
        for step in ("score_nearid_bench", "score_mtg", "score_dreambench", "summarise_scores")
        for scorer in ("siglip2", "infonce", "nearid")
    ),
    *(("make_table", {"table": table}) for table in ("table1", "table3", "table5")),
    *((step, {"figure": figure}) for step in ("compute_figure", "plot_figure") for figure in ("figure5", "figure7")),
    ("compare_with_paper", {}),
    ("show_identities", {}),
    ("make_page", {}),
    ("write_summary", {}),
]


@pytest.mark.parametrize(
    ("text", "touched"),
    [
        # Table 4 shows weights; comparison and page show table 4; the effects on page and summary need sweeps over it.
        ("ablations: {nearid: {params: {alpha: 0.7}}}",
         {("train_head", "nearid"), ("compare_with_paper", ""), ("make_page", ""),
          ("write_summary", "")}),
        ("paper: {figures: {figure5: {style: {dpi: 99}}}}", {("plot_figure", "figure5")}),
        ("sources: {cut_paste: {dilate_px: 5}}", {("inpaint_shard", "cut_paste")}),
        ("training: {learning_rate: 1.0e-2}", {("train_head", "infonce"), ("train_head", "nearid")}),
        ("ablations: {nearid: {seed: 3}}", {("train_head", "nearid")}),
        ("mixes: {nearid_only: {nearid_repeats: 5}}", set()),
        ("training: {augmented_draws: 5}", set()),
        ("tokens: {damaged_images: gap}", {("extract_tokens", "demo_siglip")}),
        ("ablations: {infonce: {training: {augmentation: {flip: 0.5}}}}",
         {("train_head", "infonce"), ("extract_tokens", "demo_siglip")}),
        ("ablations: {more: {display: M, objective: nearid, mix: nearid_mtg}}\n"
         f"select: {{ablations: [{', '.join(load(DEMO)['select']['ablations'])}, more]}}", set()),
    ],
)  # fmt: skip
def test_a_setting_reaches_only_the_steps_that_read_it(tmp_path, text, touched):
    before, after = load(DEMO), load(DEMO, overlay(tmp_path, text))
    changed = {
        (step, next(iter(ids.values()), "") if step != "inpaint_shard" else ids["source"])
        for step, ids in STEPS
        if step_settings(step, before, **ids) != step_settings(step, after, **ids)
    }
    assert changed == touched


def test_display_names_paint_train_and_score_nothing(tmp_path):
    text = yaml.safe_dump(
        {
            "sources": {"sibling": {"display": "Twin"}},
            "backbones": {"demo_siglip": {"display": "B"}},
            "scorers": {"nearid": {"display": "Ours"}},
            "ablations": {"nearid": {"display": "Ours"}},
        }
    )
    before, after = load(DEMO), load(DEMO, overlay(tmp_path, text))
    changed = {step for step, ids in STEPS if step_settings(step, before, **ids) != step_settings(step, after, **ids)}
    shown = {"make_table", "compute_figure", "compare_with_paper", "show_identities", "make_page", "write_summary"}
    assert changed == shown


def test_only_what_training_and_scoring_read_is_extracted(tmp_path):
    def variants(collection, config, backbone="demo_siglip"):
        return token_variants(config, backbone, collection)

    both, config = ["full", "fg"], load(DEMO)
    assert variants("positives", config) == variants("sibling", config)
    assert variants("sibling", config) == {"train": both, "val": ["full"], "test": both}
    assert variants("sibling_low", config) == {"val": ["full"], "test": both}
    assert (variants("mtg_train", config), variants("mtg_test", config)) == ({"train": both}, {"test": both})
    # A backbone that is only compared needs no more than the test set.
    assert variants("positives", config, "clip_vit_l") == {"test": both}
    masks = overlay(tmp_path, "training: {mask_probability: {anchor: 0.0, positive: 0.0, distractor: 0.0}}")
    assert variants("positives", load(DEMO, masks)) == {"train": ["full"], "val": ["full"], "test": both}
    assert variants("mtg_train", load(DEMO, masks)) == {"train": ["full"]}


def test_what_augmented_training_reads_is_extracted_too(tmp_path):
    """The union of the variants that ablations read, of training images only; a name says how its variant is made."""
    text = """
training: {augmentation: {flip: 0.5}}
ablations:
  infonce: {training: {augmentation: {jitter: 0.3}, augmented_draws: 2}}
  nearid: {training: {augmentation: {jitter: 0.8}, augmented_draws: 1}}
"""
    config = load(DEMO, overlay(tmp_path, text))
    settings = step_settings("extract_tokens", config, backbone="demo_siglip", collection="positives", shard="000")
    ids = {id: chances["jitter"] for id, chances in settings["augmentations"].items()}
    weak, strong = sorted(ids, key=ids.__getitem__)
    assert ids == {weak: 0.3, strong: 0.8}
    drawn = {weak: [0, 1], strong: [0]}
    expected = {
        variant
        for masking in ("full", "fg")
        for variant in (
            masking,
            f"{masking}_flip",
            *(f"{masking}_{id}_{number}" for id, numbers in drawn.items() for number in numbers),
        )
    }
    assert set(settings["variants"]["train"]) == expected and len(settings["variants"]["train"]) == len(expected)
    assert settings["variants"]["val"] == ["full"] and settings["variants"]["test"] == ["full", "fg"]
    other = step_settings("extract_tokens", config, backbone="demo_siglip", collection="sibling_low", shard="000")
    assert other["variants"] == {"val": ["full"], "test": ["full", "fg"]} and "augmentations" not in other
    online = step_settings(
        "extract_tokens", load(DEMO, "config/online.yaml"), backbone="demo_siglip", collection="positives", shard="000"
    )
    assert online["variants"] == {"val": ["full"], "test": ["full", "fg"]} and "augmentations" not in online
    alone = load(DEMO, "config/augmented.yaml")
    assert packs(alone) == packs(load(DEMO))
    fewer = load(
        DEMO, "config/augmented.yaml", overlay(tmp_path, "ablations: {nearid: {training: {augmented_draws: 2}}}")
    )
    assert ["nearid"] in packs(fewer), "who reads other draws reads other batches"
    variants = step_settings("extract_tokens", alone, backbone="demo_siglip", collection="positives", shard="000")[
        "variants"
    ]["train"]
    assert len(variants) == 8 and not {"full", "fg"} & set(variants), "no ablation reads them as they are"


def test_what_is_only_compared_is_one_shard():
    config = load(DEMO)
    assert token_shards(config, "demo_siglip", "positives") == token_shards(config, "demo_siglip", "sibling")
    assert token_shards(config, "demo_siglip", "sibling") == ["000", "001"]
    for backbone, collection in (
        ("demo_siglip", "sibling_low"),
        ("clip_vit_l", "sibling"),
        ("clip_vit_l", "positives"),
    ):
        assert token_shards(config, backbone, collection) == ["000"]
        ids = {"backbone": backbone, "collection": collection, "shard": "000"}
        assert step_settings("extract_tokens", config, **ids)["shards"] == ["000", "001"]
    settings = step_settings("score_nearid_bench", config, scorer="nearid")
    assert settings["token_shards"] == {"positives": 2, "sibling": 2, "cut_paste": 2} | dict.fromkeys(
        ("sibling_low", "cut_paste_seamless"), 1
    )


def test_unseen_sources_need_no_training_rows(tmp_path):
    config = load(DEMO)
    assert step_settings("inpaint_shard", config, source="sibling")["splits"] == ["train", "val", "test"]
    assert step_settings("inpaint_shard", config, source="sibling_low")["splits"] == ["test"]
    unsaid = load(DEMO, overlay(tmp_path, "sources: {sibling_low: {splits: []}}"))
    assert step_settings("inpaint_shard", unsaid, source="sibling_low")["splits"] == ["val", "test"]


def test_what_is_not_the_papers_is_told_and_the_papers_own_config_has_nothing_to_tell():
    config = load()
    assert differences(config) == {}
    config["dataset"]["splits"]["test"] = 6
    config["sources"]["powerpaint"]["options"]["steps"] = 2
    config["training"]["epochs"] = 2
    told = differences(config)
    assert told["data"] == ["6 test identities (paper: 500)", "powerpaint painted with 2 steps (paper: 45)"]
    assert told["training"] == ["epochs 2 (paper: 11)"]
    assert step_settings("make_page", config)["run"]["differs"] == told
