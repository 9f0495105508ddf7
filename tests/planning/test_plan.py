"""The plan counts what the workflow plans, adds up, fits a page and is close to what the demo took."""

import re
from collections import defaultdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from nearid.cli import nearid as command
from nearid.config import load
from nearid.layout import Layout
from nearid.planning.plan import format_plan, make_plan
from nearid.workflow.groups import group_of, leave_out_arrays, read_sizes
from nearid.workflow.jobs import Jobs
from nearid.workflow.needs import needs_of
from nearid.workflow.rates import default_rate, read_benchmark
from nearid.workflow.steps import RULES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def painting_jobs(config, layout):
    return Jobs(config, layout).of("inpaint_part", "inpaint_shard")


def test_the_paper_fits_a_page_and_adds_up(tmp_path):
    plan = make_plan(load(), Layout(tmp_path / "paper"), gpus=8, cores=64)
    text = format_plan(plan)
    assert len(text.splitlines()) <= 24 and max(map(len, text.splitlines())) <= 80, text
    # With a smaller card, what does not fit it comes on top.
    smaller = make_plan(load(), Layout(tmp_path / "paper"), gpus=8, cores=64, card_gb=40)
    assert len(format_plan(smaller).splitlines()) <= 32 and len(smaller.warnings) <= len(plan.warnings) + 3
    # Requests are those of the rules, stage by stage.
    asked = [(job.stage, needs_of(job)) for job in Jobs(load(), Layout(tmp_path / "paper")).all()]
    for row in plan.total[:-1]:
        own = [needs for stage, needs in asked if stage == row.stage]
        assert row.gpu_gb == max(needs.gpu_gb for needs in own)
        if row.stage != "fetch":  # it runs where Snakemake does
            assert row.memory_mb <= max(needs.memory_mb for needs in own)
            assert row.gpu_s + row.cpu_s <= sum(needs.minutes * 60 for needs in own)
    *stages, whole = plan.total
    assert whole.jobs == sum(row.jobs for row in stages) and whole.size == pytest.approx(
        sum(row.size for row in stages)
    )
    assert plan.remaining == plan.total
    # docs/generators.md 5: about 525 A100 hours for the four training sources, 9 for the others' test images.
    painting = next(row for row in stages if row.stage == "distractors")
    assert 480 < painting.gpu_s / 3600 < 600
    assert painting.wall_s == pytest.approx(painting.gpu_s / 8)
    alone = make_plan(load(), Layout(tmp_path / "paper"), gpus=1, cores=64)
    assert alone.total[-1].wall_s > 5 * whole.wall_s


def test_the_config_opens_with_what_the_plan_says(tmp_path):
    plan = make_plan(load(), Layout(tmp_path / "paper"), gpus=1, cores=2)
    said = re.search(
        r"about (\d+) GPU hours .*\(painting (\d+), judges and VSM (\d+), training (\d+)\).*?"
        r"(\d+) GB of disk, of which (\d+) GB are downloads; (\d+) jobs",
        " ".join((ROOT / "config.yaml").read_text().replace("#", " ").split()),
    )
    of = {row.stage: row for row in plan.total}
    hours = [of[stage].gpu_s / 3600 for stage in ("all", "distractors", "scores", "heads")]
    expected = [*hours, of["all"].size / 1e9, of["fetch"].size / 1e9, of["all"].jobs]
    assert said is not None and [float(number) for number in said.groups()] == pytest.approx(expected, rel=0.03)


def test_painting_the_paper_is_expected_to_take_at_most_250_hours_of_h100s(tmp_path):
    """By published factors for compiling, batches and the card; `make bench-gpu` measures them."""
    _, expected = make_plan(load(), Layout(tmp_path)).painting
    assert int(re.search(r"(\d+) on H100s", expected)[1]) <= 250 and "make bench-gpu measures" in expected


def test_what_is_done_is_a_row_of_its_own(tmp_path):
    config, layout = load("config/demo.yaml"), Layout(tmp_path / "demo")
    before = format_plan(make_plan(config, layout))
    assert "with done" not in before
    done = next(job for job in Jobs(config, layout).all() if job.name == "sibling/000")
    for path in done.outputs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    after = format_plan(make_plan(config, layout))
    counts = {row.split()[0]: row.split()[1] for row in after.splitlines() if row.split()[:1] == ["all"]}
    whole = re.search(r"^with done +(\d+)", after, re.M)[1]
    assert f"1 of {whole} jobs done" in after and int(counts["all"]) == int(whole) - 1


def test_painting_is_cut_into_jobs_of_ninety_minutes(tmp_path):
    config, layout = load(), Layout(tmp_path)
    told, expected = make_plan(config, layout).painting
    assert "on H100s" in expected
    assert float(re.search(r"Longest painting job: .*of\d+, ([\d.]+) h", told)[1]) == pytest.approx(1.5, abs=0.11)
    painting = [job for job in painting_jobs(config, layout) if job.gpu]
    assert sum(job.units for job in painting if "flux_1024/" in job.name) == pytest.approx(45_215)
    hours = sum(job.units * job.seconds_per_unit for job in painting if job.rule == "inpaint_part") / 3600
    assert hours < 1.5 * sum(job.rule == "inpaint_part" for job in painting) < 1.15 * hours
    assert {job.name.partition("/")[0] for job in painting if job.rule == "inpaint_shard"} == {
        *("qwen", "powerpaint", "sdxl", "sdxl_1024", "fluxc", "fluxc_1024")
    }, "what takes less is one job"
    read = config | {"released": {"flux": "released/flux"}}
    assert not any("of" in job.name for job in painting_jobs(read, layout) if job.name.startswith("flux/"))
    config["painting_minutes"] = 30
    assert sum(job.rule == "inpaint_part" for job in painting_jobs(config, layout)) > 1.9 * hours


def test_growth_is_as_the_page_says(tmp_path):
    """docs/scale.md: what grows with the number of identities, and what does not."""

    def plan(identities, minutes=60):
        overlay = tmp_path / "size.yaml"
        size = f"dataset: {{kind: rendered, shards: 16, rendered: {{identities: {identities}}}}}"
        overlay.write_text(f"{size}\npainting_minutes: {minutes}\n")
        return {row.stage: row for row in make_plan(load(overlay), Layout(tmp_path / "paper"), gpus=8, cores=64).total}

    small, large, longer = plan(4_000), plan(40_000), plan(40_000, 600)
    assert large["distractors"].gpu_s == pytest.approx(10 * small["distractors"].gpu_s, rel=0.1)
    assert large["heads"].gpu_s == pytest.approx(10 * small["heads"].gpu_s, rel=0.1)
    assert large["scores"].gpu_s == pytest.approx(small["scores"].gpu_s, rel=0.01)
    assert large["tokens"].size == pytest.approx(small["tokens"].size, rel=0.01)
    assert longer["distractors"].jobs < large["distractors"].jobs / 3


def test_its_columns_hold_a_hundred_times_the_paper(tmp_path):
    plan = make_plan(load(), Layout(tmp_path / "paper"), gpus=1, cores=1)
    for row in plan.remaining:
        for name in ("jobs", "submissions", "files", "gpu_s", "cpu_s", "size", "wall_s"):
            setattr(row, name, 100 * getattr(row, name))
    _, head, *rows = format_plan(plan).splitlines()[: 2 + len(plan.remaining)]
    # Numbers end below their column's name, with a blank before the next column.
    ends = [head.index(name) + len(name) for name in ("jobs", "SLURM", "GPU h", "CPU h", "disk", "files", "memory")]
    assert all(row[end - 1] != " " and row[end] == " " for row in rows for end in ends), "\n".join([head, *rows])
    assert max(map(len, rows)) <= 80


def test_short_jobs_share_jobs_of_the_cluster(tmp_path):
    """docs/slurm.md: the number of submissions of the paper's run, each of at least some minutes."""
    config, layout = load(), Layout(tmp_path / "paper")
    whole = make_plan(config, layout).total[-1]
    assert whole.submissions <= 500
    alone = make_plan(config, layout, profile=tmp_path / "none.yaml").total[-1]
    assert alone.submissions == whole.jobs - sum(RULES[job.rule].local for job in Jobs(config, layout).all())
    sizes, jobs = read_sizes(ROOT / "slurm/config.yaml"), Jobs(config, layout).all()
    seconds = {job: default_rate(job).start + default_rate(job).per_unit * job.units for job in jobs}
    groups = defaultdict(list)
    for job in jobs:
        groups[group_of(job, sizes)].append(job)
    assert max(seconds[job] for name, own in groups.items() if name for job in own) < 900
    # Left alone: heads of a pack, any of which may train all of it, and the browser of identities.
    assert {job.rule for job in groups[None] if seconds[job] < 60 and not RULES[job.rule].local} == {
        *("train_head", "train_head_with_timelapse", "show_identities")
    }
    for name, own in groups.items():
        if name:
            assert len({needs_of(job).gpus for job in own}) == 1
            assert sizes[name] * max(needs_of(job).minutes for job in own) <= 24 * 60, "partitions have limits"


def test_jobs_of_an_array_are_in_no_group():
    sizes = {"inpaint_shard": 8, "inpaint_shard_gpu": 8, "score_mtg": 4}
    assert leave_out_arrays(sizes, "") == sizes
    assert leave_out_arrays(sizes, "inpaint_part, inpaint_shard") == {"score_mtg": 4}
    assert leave_out_arrays(sizes, "all") == {}


def test_a_slower_rate_than_the_config_says_is_written_out(tmp_path):
    config, layout = load(), Layout(tmp_path)
    job = next(job for job in painting_jobs(config, layout) if job.name.startswith("qwen_1328/000."))
    benchmark = layout.benchmark(job.stage, job.rule, job.name)
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text(f"s\tmax_rss\n{200 + 30 * job.units}\t4321\n")
    _, told, _ = make_plan(config, layout).painting
    assert "sources: {qwen_1328: {seconds_per_image: 30}}" in told
    config["sources"]["qwen_1328"]["seconds_per_image"] = 30
    told, expected = make_plan(config, layout).painting
    assert "on H100s" in expected
    assert float(re.search(r", ([\d.]+) h", told)[1]) < 1.7


def test_how_a_shard_was_painted_stays_its_plan(tmp_path):
    config, layout = load(), Layout(tmp_path)

    def jobs_of(shard):
        return [job for job in painting_jobs(config, layout) if job.name.startswith(f"flux/{shard}")]

    assert len(jobs_of("000")) == 6
    layout.painted("flux", "001", 2, 5).parent.mkdir(parents=True)
    layout.painted("flux", "001", 2, 5).touch()
    assert [job.name for job in jobs_of("001") if all(path.exists() for path in job.outputs)] == ["flux/001.2of5"]
    layout.distractors("flux", "000").touch()
    layout.distractor_report("flux", "000").write_text('{"parts": 7}')
    config["painting_minutes"] = 600
    assert len(jobs_of("000")) == 8 and len(jobs_of("001")) == 1
    assert all(path.exists() for job in jobs_of("000") for path in job.outputs)


def test_every_kind_of_job_has_a_rate(tmp_path):
    for overlays in ((), ("config/demo.yaml",), ("config/demo.yaml", "config/photos.yaml")):
        guessed = {
            rate for rate, source in make_plan(load(*overlays), Layout(tmp_path)).basis.items() if source == "a guess"
        }
        assert not guessed, "give it a rate in nearid.workflow.rates"


def test_what_is_done_is_not_to_do_and_its_rate_is_used(tmp_path):
    config, layout = load("config/demo.yaml"), Layout(tmp_path / "demo")
    jobs = Jobs(config, layout).all()
    before = make_plan(config, layout)
    done = next(job for job in jobs if job.name == "sibling/000")
    done.outputs[0].parent.mkdir(parents=True)
    for path in done.outputs:
        path.touch()
    took = 10 * (default_rate(done).start + default_rate(done).per_unit * done.units)
    benchmark = layout.benchmark(done.stage, done.rule, done.name)
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text(f"s\tmax_rss\n{took}\t4321\n")
    after = make_plan(config, layout)
    assert after.remaining[-1].jobs == before.total[-1].jobs - 1
    assert after.basis["sibling/112"] == "measured, 1 jobs"
    painting = [next(row for row in plan.total if row.stage == "distractors") for plan in (before, after)]
    assert painting[1].memory_mb == 4321
    assert painting[1].cpu_s - painting[0].cpu_s == pytest.approx(2 * took * 0.9, rel=0.05)
    benchmark.write_text("cut off")
    assert make_plan(config, layout).basis["sibling/112"].startswith("demo")


def test_too_little_space_is_told(tmp_path):
    plan = make_plan(load(), Layout(tmp_path / "paper"), gpus=0, quota_gb=1)
    assert any("still to write" in warning and "1 GB free" in warning for warning in plan.warnings)
    assert any("need a GPU" in warning for warning in plan.warnings)
    assert not make_plan(load("config/demo.yaml"), Layout(tmp_path / "demo"), gpus=0).warnings


@pytest.mark.skipif(not (ROOT / "results/demo/benchmarks").is_dir(), reason="the demo did not run here")
def test_defaults_are_within_a_factor_of_two_of_the_demo():
    config, layout = load("config/demo.yaml"), Layout(ROOT / "results/demo")
    ran = [(job, took) for job in Jobs(config, layout).all() if (took := read_benchmark(layout, job))]
    if len(ran) < 40:
        pytest.skip("the demo did not run to its end here")
    took = sum(seconds for _, (seconds, _) in ran)
    guessed = sum(default_rate(job).start + default_rate(job).per_unit * job.units for job, _ in ran)
    assert 0.5 < guessed / took < 2, f"guessed {guessed:.0f} s, took {took:.0f} s"


def test_command(tmp_path):
    result = CliRunner().invoke(command, ["plan", "config/demo.yaml", "--gpus", "0"])
    assert result.exit_code == 0 and "to do:" in result.output, result.output
