"""A change re-runs what reads it and nothing else (docs/reruns.md), on the real workflow with fake steps."""

import json
import os
import re
import subprocess
import sys

CLOSING = {"compare_with_paper", "make_page", "write_summary", "write_manifest", "write_crate"}


# A statement, which counts in every step that runs this module; a comment would re-run nothing.
EDIT = "\nassert True\n"


def append(project, path, text="\n# edited\n"):
    with (project.root / path).open("a") as stream:
        stream.write(text)


def test_how_a_shard_is_painted_repaints_none(project):
    """A new rate divides what is still to paint; for existing shards it must not change any input."""
    slow = "sources: {sibling: {seconds_per_image: 30}}\npainting_minutes: "
    closing = {"write_manifest": set(), "write_crate": set()}  # the manifest has the whole config
    assert project.plan(project.overlay(slow + "10")) == closing
    for name in ("000.parquet", "000.report.json"):
        (project.root / "results/test/distractors/sibling" / name).unlink()
    plan = project.plan(project.overlay(slow + "10"))
    assert plan["inpaint_part"] == {f"source=sibling, shard=000, part={part}, parts=4" for part in (1, 2, 3, 4)}
    assert plan["inpaint_shard"] == {"source=sibling, shard=000"}
    project.run(project.overlay(slow + "10"))
    assert not list((project.root / "results/test/distractors/sibling").glob("*of*"))
    for minutes in ("10", "3", "1000"):
        plan = project.plan(project.overlay(slow + minutes))
        assert plan == ({} if minutes == "10" else closing), minutes
    plan = project.plan(project.overlay("sources: {sibling: {seconds_per_image: 30, blur_sigma: 2.0}}"))
    assert {"inpaint_shard", "inpaint_part"} <= set(plan)


def test_plotting_reads_a_figure_s_data_and_nothing_else(project):
    done = project.snakemake("--forceall", "--dry-run", "--configfile", *project.configs(()))
    blocks = re.findall(r"rule (plot_\w+):\s+input: (.*)", done.stdout)
    assert len(blocks) == 15
    assert all(re.fullmatch(r"results/test/paper/data/\w+\.npz", files) for _, files in blocks), blocks


def test_style_replots_one_figure_and_not_the_page(project):
    plan = project.plan(project.overlay("paper: {figures: {figure5: {style: {dpi: 99}}}}"))
    assert plan == {"plot_animated_figure": {"figure=figure5"}, "write_manifest": set(), "write_crate": set()}


def test_alpha_reruns_one_head_and_what_stands_on_it(project):
    overlay = project.overlay("ablations: {nearid: {params: {alpha: 0.75}}}")
    plan = project.plan(overlay)
    assert plan["train_head_with_timelapse"] == {"ablation=nearid"}
    for rule in ("score_nearid_bench", "score_mtg", "summarise_scores"):
        assert plan[rule] == {"scorer=nearid"}
    assert plan["make_table"] == {f"table=table{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 10)}
    assert not {"train_head", "curate_positives", "inpaint_shard", "extract_tokens"} & set(plan)
    project.run(overlay)
    assert project.plan(overlay) == {}


def test_a_new_ablation_trains_alone(project):
    text = "ablations: {more: {display: More, objective: nearid, params: {alpha: 2.0}, mix: nearid_mtg}}\n"
    plan = project.plan(project.overlay(text + "select: {ablations: [infonce, nearid, more]}"))
    assert plan == {"train_head": {"ablation=more"}, "write_manifest": set(), "write_crate": set()}
    text += "scorers: {more: {display: More, kind: head, ablation: more}}\n"
    shown = "colour_histogram, judge_stand_in, siglip2_mean, siglip2, infonce, nearid, more"
    text += f"select: {{ablations: [infonce, nearid, more], scorers: [{shown}]}}"
    plan = project.plan(project.overlay(text))
    assert plan.pop("train_head") == {"ablation=more"}
    for rule in ("score_nearid_bench", "score_mtg", "score_dreambench", "summarise_scores"):
        assert plan.pop(rule) == {"scorer=more"}
    assert set(plan) == CLOSING | {"show_identities"}, "tables that do not show it stay"


def test_without_packs_each_head_is_a_job(project):
    alone = "training: {pack: none}\n"
    assert project.plan(project.overlay(alone)) == {"write_manifest": set(), "write_crate": set()}, (
        "how heads share a job changes no head"
    )
    plan = project.plan(project.overlay(alone + "ablations: {nearid: {params: {alpha: 0.75}}}"))
    assert plan["train_head_with_timelapse"] == {"ablation=nearid"}
    assert "train_head" not in plan


def test_a_head_that_leaves_its_pack_trains_alone(project):
    plan = project.plan(project.overlay("ablations: {nearid: {seed: 5}}"))
    assert plan["train_head_with_timelapse"] == {"ablation=nearid"}
    assert "train_head" not in plan


def test_editing_code_reruns_its_stage(project):
    append(project, "src/nearid/distractors/engines/cut_paste.py", EDIT)
    plan = project.plan()
    assert plan["inpaint_shard"] == {"source=cut_paste, shard=000", "source=cut_paste_seamless, shard=000"}
    assert "curate_positives" not in plan


def test_editing_an_objective_reruns_its_heads(project):
    append(project, "src/nearid/heads/objectives/infonce.py", EDIT)
    plan = project.plan()
    assert plan["train_head"] == {"ablation=infonce"}
    assert "train_head_with_timelapse" not in plan
    assert "table=table4" in plan["make_table"], "its weights are the objectives' own"


def test_editing_a_table_remakes_it_and_all_that_show_it(project):
    append(project, "src/nearid/paper/tables/table7.py", EDIT)
    assert project.plan() == {"make_table": {"table=table7"}} | {
        rule: set() for rule in ("compare_with_paper", "make_page", "write_manifest", "write_crate")
    }


def test_editing_ground_that_changes_no_result_reruns_nothing(project):
    append(project, "src/nearid/layout.py")
    append(project, "src/nearid/cli/heads.py")
    assert project.plan() == {}


def test_what_changes_no_statement_reruns_nothing(project):
    """A docstring, a comment, a renamed local and a moved function, as planned by Snakemake."""
    path = project.root / "src/nearid/heads/objectives/infonce.py"
    text, start = path.read_text(), path.read_text().index("def contrast(")
    told = re.sub(r"\brows\b", "numbers", text[start:]).replace('"""The symmetric loss', '"""Another text. The loss')
    assert told.count("numbers") > 1 and "Another text" in told
    path.write_text(f"{text[:start]}{told}\n# a comment\n")
    path = project.root / "src/nearid/scores/margins.py"
    head, function, rest = re.fullmatch(r"(.*?)(def count_wins\(.*?\n\n\n)(.*)", path.read_text(), re.DOTALL).groups()
    imports = "".join(line for line in head.splitlines(keepends=True) if line.startswith(("from ", "import ")))
    here = "from nearid.scores.margins import CROSSES, SIMILARITIES, Columns\n"
    (project.root / "src/nearid/scores/moved.py").write_text(f"{imports}{here}\n\n{function}")
    place = head.index("import numpy")
    path.write_text(f"{head[:place]}from nearid.scores.moved import count_wins\n{head[place:]}{rest}")
    assert project.plan() == {}


def accept(project, *arguments):
    program = [sys.executable, "-c", "import nearid.cli; nearid.cli.main()", "accept", *arguments]
    program += [word for overlay in project.configs(()) for word in ("--config", overlay)]
    environment = {**os.environ, "PYTHONPATH": str(project.root / "src")}
    return subprocess.run(program, cwd=project.root, env=environment, capture_output=True, text=True, check=False)


def test_results_of_other_code_that_were_accepted_stand(project):
    append(project, "src/nearid/heads/objectives/infonce.py", EDIT)
    steps = ["train_head", "make_table", "compare_with_paper", "make_page"]
    done = accept(project, *steps, "--why", "the same but for an assertion")
    assert done.returncode == 0 and "train_head: 1 results" in done.stdout, done.stdout + done.stderr
    # The manifest lists what was accepted, and so does the crate.
    assert project.plan() == {"write_manifest": set(), "write_crate": set()}
    told = json.loads((project.root / "results/test/accepted.json").read_text())["accepted"]
    assert {entry["step"] for entry in told} == set(steps)
    refused = accept(project, "train_heads", "--why", "x")
    assert refused.returncode == 2 and "train_head" in refused.stderr


def test_another_backbone_recomputes_all_tokens(project):
    append(project, "backbone/model.safetensors")
    plan = project.plan()
    assert len(plan["extract_tokens"]) == 7
    assert "inpaint_shard" not in plan


def test_other_preprocessing_recomputes_all_tokens(project):
    append(project, "backbone/preprocessor_config.json")
    assert len(project.plan()["extract_tokens"]) == 7


def test_changed_images_recompute_their_own_tokens(project):
    append(project, "results/test/distractors/sibling/000.parquet")
    plan = project.plan()
    assert plan["extract_tokens"] == {"backbone=demo_siglip, collection=sibling, shard=000"}
    assert "train_head" in plan and "inpaint_shard" not in plan


def test_a_lost_result_is_made_again(project):
    (project.root / "results/test/scores/siglip2/metrics.json").unlink()
    plan = project.plan()
    assert plan["summarise_scores"] == {"scorer=siglip2"}
    assert "score_mtg" not in plan
