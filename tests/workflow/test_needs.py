"""Requests of cluster jobs: rules and plan use the same table, and the requests are sufficient."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nearid.config import load
from nearid.layout import Layout
from nearid.workflow.graph import Graph
from nearid.workflow.jobs import Jobs
from nearid.workflow.needs import describe_too_large, needs_of
from nearid.workflow.rates import default_rate
from nearid.workflow.rules import Rules

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = {"paper": (), "released": ("config/released.yaml",), "demo": ("config/demo.yaml",)}


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def jobs_of(tmp_path, *overlays):
    return Jobs(load(*map(Path, overlays)), Layout(tmp_path / "run")).all()


@pytest.mark.parametrize("overlays", OVERLAYS.values(), ids=OVERLAYS)
def test_every_request_covers_what_the_plan_expects(overlays, tmp_path):
    for job in jobs_of(tmp_path, *overlays):
        if job.stage == "fetch":
            continue
        needs, rate = needs_of(job), default_rate(job)
        assert needs.memory_mb >= rate.memory_mb, job
        assert needs.minutes * 60 >= 1.3 * (rate.start + rate.per_unit * job.units), job
        assert bool(needs.gpus) == job.gpu == bool(needs.gpu_gb), job


def test_the_audit_s_requests(tmp_path):
    jobs = {(job.rule, job.name): needs_of(job) for job in jobs_of(tmp_path)}
    judge = jobs["score_nearid_bench", "qwen3vl_30b"]
    assert judge.gpu_gb > 62 and judge.memory_mb >= 16_000 and judge.minutes > 9.8 * 60
    assert jobs["score_nearid_bench", "qwen3vl_4b"].gpu_gb < 24
    assert jobs["extract_tokens", "siglip2_so400m/positives/000"].memory_mb >= 8000
    painting = {name: needs for (rule, name), needs in jobs.items() if rule.startswith("inpaint") and needs.gpus}
    assert all(16_000 <= needs.memory_mb <= 24_000 for needs in painting.values())
    assert all(needs.gpu_gb > 45 for name, needs in painting.items() if name.startswith("qwen"))
    cached = [
        needs
        for (rule, name), needs in jobs.items()
        if rule in ("score_nearid_bench", "score_mtg") and name == "nearid"
    ]
    assert cached and not any(needs.gpus for needs in cached), "cached tokens are read without a GPU"
    assert jobs["score_dreambench", "nearid"].gpus == 1, "its pictures pass through the backbone"


def test_a_later_attempt_asks_for_more_time_as_far_as_the_cluster_allows(tmp_path):
    rules = Rules(Graph(load(), Layout(tmp_path)), lambda: {"score_mtg": 10})
    head, scorer = ({name: "nearid"} for name in ("ablation", "scorer"))
    train, score = rules.minutes("train_head"), rules.minutes("score_mtg")
    first, short = train(head, 1), score(scorer, 1)
    assert [train(head, attempt) for attempt in (2, 3)] == [2 * first, 3 * first]
    rules.allowed_minutes = {"train_head": 2.5 * first, "score_mtg": 15 * short}
    assert [train(head, attempt) for attempt in (1, 2, 3)] == [first, 2 * first, int(2.5 * first)]
    longer = int(1.5 * short)  # ten of them share a job of the cluster
    assert [score(scorer, attempt) for attempt in (1, 2, 3)] == [short, longer, longer]


def test_layers_that_wait_outside_make_qwen_fit_a_card_of_40_gb(tmp_path):
    config = load()
    config["sources"]["qwen"]["options"] = config["sources"]["qwen"]["options"] | {"offload": "group"}
    jobs = {job.name: needs_of(job) for job in Jobs(config, Layout(tmp_path)).of("inpaint_part", "inpaint_shard")}
    assert jobs["qwen/000"].gpu_gb < 40 and jobs["qwen/000"].memory_mb == 64_000
    assert jobs["qwen_1328/000.1of5"].gpu_gb > 45


@pytest.mark.slow
def test_the_rules_ask_for_what_the_table_says(tmp_path):
    command = [sys.executable, "-m", "snakemake", "--nolock", "-n", "--config", f"results_dir={tmp_path}", "name=run"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)})
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    jobs = {(job.rule, job.name): needs_of(job) for job in jobs_of(tmp_path)}
    checked = 0
    for block in re.split(r"(?m)^(?=(?:local)?rule \w+:)", done.stdout):
        rule, log = re.search(r"^(?:local)?rule (\w+):", block), re.search(r"^ +log: (\S+)\.log", block, re.M)
        asked = dict(re.findall(r"\b(mem_mb|runtime|gpu)=(\d+)", block))
        if not rule or not log or f"/{rule[1]}/" not in log[1]:
            continue
        needs = jobs.get((rule[1], log[1].split(f"/{rule[1]}/")[1]))
        if needs and rule[1] != "fetch_download":  # it runs where Snakemake does
            assert (int(asked["mem_mb"]), int(asked["runtime"])) == (needs.memory_mb, needs.minutes), block
            assert int(asked.get("gpu", 0)) == needs.gpus, block
            checked += 1
    assert checked > 0.9 * len(jobs), "the dry run names its jobs"


def test_smaller_cards_are_told_what_does_not_fit_and_what_helps(tmp_path):
    config = load()
    jobs = Jobs(config, Layout(tmp_path)).all()
    assert describe_too_large(jobs, 80) == []
    told = {name: line for line in describe_too_large(jobs, 40) for name in line.partition(":")[0].split(", ")}
    assert all("offload: group" in told[source] for source in ("flux", "flux_1024", "fluxc", "qwen", "qwen_1328"))
    assert "endpoint" in told["qwen3vl_30b"] and not {"sdxl", "powerpaint", "nearid", "qwen3vl_8b"} & set(told)
    for source in config["sources"].values():
        if source["engine"] in ("flux_fill", "flux_canny", "qwen_controlnet"):
            source["options"] = source["options"] | {"offload": "group"}
    left = describe_too_large(Jobs(config, Layout(tmp_path)).all(), 40)
    assert [line.partition(":")[0] for line in left] == ["qwen3vl_30b"]
