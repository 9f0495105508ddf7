"""Commands in README and docs exist, and a test runs them or says what they need; links and citations are valid."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from nearid.cli import nearid as command

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "slurm/README.md"])
INLINE = re.compile(r"`((?:nearid|make|snakemake) [^`…]+)`")

# The test that runs a command (the word after the colon occurs in that file), or what it needs that no test has.
ROUTES = [
    (r"make .*", "here, as a rehearsal (make --just-print); what it starts is another command"),
    (r"nearid (--help|doctor.*|plan.*)", "here"),
    (r"nearid (score|export) .*", "tests/release/test_use_page.py: docs/use.md"),
    (r"nearid score|nearid export( results/<name>)?", "a name, not a call"),
    (r"nearid accept .*", "tests/workflow/test_reruns.py: accept"),
    (r"nearid rehearse.*", "whole configs: .ci/run rehearses; the rest: tests/rehearsal/test_overlay.py: shrink"),
    (r"nearid paper verify.*", "tests/paper/test_verification.py: verify"),
    (r"nearid distractors inpaint .*--part .*", "tests/distractors/test_parts.py: --part"),
    (r"nearid tokens (verify|info) .*", "tests/tokens/test_extraction.py: verify"),
    (r"nearid tokens (plan|repair-plan).*", "tests/tokens/test_planning.py: repair-plan"),
    (r"nearid tokens precision.*", "tests/tokens/test_precision.py: precision"),
    (r"nearid bench .*", "tests/scores/test_images_and_resume.py: bench"),
    (r"nearid scores dreambench .*", "tests/scores/test_human_alignment.py: dreambench"),
    (r"nearid heads tensorboard", "tests/heads/test_boards.py: tensorboard"),
    (r"nearid sweep .*", "needs a cluster; tests/cluster/test_slurm_sweeps.py starts one: sweep"),
    (r"snakemake .*--until fetch_download", "needs the hub; tests/io/test_hub.py: fetch"),
    (r"snakemake .*--profile slurm .*-n", "tests/workflow/test_workflow.py: --profile"),
    (r"snakemake --profile slurm.*", "needs a cluster; tests/cluster/test_slurm.py starts one: end_to_end"),
    (r"snakemake --profile mysite", "tests/cluster/test_other_clusters.py: mysite"),
    (r"snakemake results/paper/.*", "here, as a plan (-n): needs GPUs and the hub"),
    (r"snakemake .*config/ratings.yaml", "tests/workflow/test_leaving_out.py: ratings.yaml"),
    (r"snakemake .*config/calibrate.yaml.*", "needs the hub; tests/workflow/test_leaving_out.py: calibrate"),
    (r"snakemake (PATH|-n)", "a pattern"),
    (r"snakemake .*(--touch|--rerun-triggers mtime|--unlock).*", "here, on fake steps"),
    (r"snakemake --cores 2 --configfile config/demo.yaml( -- exports)?", "tests/workflow/test_end_to_end.py: start"),
    (r"snakemake .*config/demo.yaml overlay.yaml", "tests/distractors/test_own_generator.py: overlay.yaml"),
    (r"snakemake .*config/demo.yaml (mine|tiles).yaml", "its entries: tests/scores/test_own_pages.py: tiles"),
]  # fmt: skip


def blocks(text):
    """(language, content) of the fenced blocks."""
    language, lines = None, []
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            if language is None:
                language, lines = line.strip()[3:], []
            else:
                yield language, "\n".join(lines)
                language = None
        elif language is not None:
            lines.append(line)
    assert language is None, "an open block"


def commands(page):
    text = page.read_text()
    shells = [content for language, content in blocks(text) if language in ("", "bash", "sh")]
    shown = [line for content in shells for line in content.replace("\\\n", " ").splitlines()]
    for line in [*shown, *INLINE.findall(text)]:
        piece = line.split(" #")[0].rsplit("|", 1)[-1].strip()
        if re.match(r"(nearid|make|snakemake)\s", piece) and "{" not in piece and "$C" not in piece:
            yield re.sub(r"\s+", " ", piece)


ALL = sorted({(page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in commands(page)})
LINES = sorted({line for _, line in ALL})


@pytest.mark.parametrize(("page", "line"), ALL, ids=[f"{page}: {line}" for page, line in ALL])
def test_command_exists(page, line):
    program, *words = shlex.split(line)
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert words[0] in targets
    elif program == "snakemake":
        files = [word for word in words if word.endswith(".yaml") and "/" in word]
        assert all((ROOT / file).is_file() for file in files)
    else:
        check_options(command, words)


def check_options(group, words):
    """Follow sub-commands as far as they go, then compare the options with the command's."""
    context, found = click.Context(group), group
    while words and isinstance(found, click.Group) and not words[0].startswith("-"):
        found = found.get_command(context, words.pop(0))
        assert found is not None
    known = {option for parameter in found.params for option in parameter.opts} | {"--help", "--version"}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("line", LINES)
def test_command_runs_in_a_test_or_is_marked(line):
    route = next((route for pattern, route in ROUTES if re.fullmatch(pattern, line)), None)
    assert route, "no test runs this command: add one, or say in ROUTES what it needs"
    if found := re.search(r"(tests/\S+\.py): (\S+)", route):
        assert found[2] in (ROOT / found[1]).read_text()


@pytest.mark.parametrize("line", [line for line in LINES if re.match(r"nearid (--help|doctor|plan)", line)])
def test_help_plan_and_doctor(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(command, shlex.split(line)[1:])
    # The doctor's findings depend on the machine.
    assert done.exit_code in ((0, 1) if "doctor" in line else (0,)) and len(done.output) > 100, done.output


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("make ")])
def test_make_rehearses(line):
    program = ["make", "--just-print", "PYTHON=true", *shlex.split(line)[1:]]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout, done.stderr


def test_each_line_of_what_happens_when_has_its_test():
    page = (ROOT / "docs/slurm.md").read_text()
    rows = re.search(r"\| trouble \|.*?\n\|---.*?\n((?:\|.*\n)+)", page)[1].splitlines()
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = [re.fullmatch(r"\|.*\|.*\| `(test_\w+)` \|", row) for row in rows]
    assert all(named) and len(rows) > 20, [row for row, name in zip(rows, named, strict=True) if not name]
    assert [name[1] for name in named if not re.search(rf"^def {name[1]}\(", tests, re.MULTILINE)] == []


def test_claims_can_be_planned(tmp_path):
    wanted = [line.split()[1] for line in LINES if line.startswith("snakemake results/paper/")]
    assert len(wanted) > 8
    program = [sys.executable, "-m", "snakemake", "--quiet", "rules", "-n", "--nolock"]
    # In another folder, so that results of this checkout do not shorten the plan.
    targets = [target.replace("results/", f"{tmp_path}/", 1) for target in wanted]
    program += [*targets, "--config", f"results_dir={tmp_path}"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"^make_table +8$", done.stdout, re.MULTILINE)


def test_touch_triggers_and_unlock_on_fake_steps(project):
    lines = [line for line in LINES if re.search(r"--touch|--rerun-triggers|--unlock", line)]
    assert all(any(option in line for line in lines) for option in ("--touch", "--rerun-triggers", "--unlock"))
    for line in lines:
        words = shlex.split(line)[1:]
        if "--configfile" in words:
            place = words.index("config/demo.yaml")
            words[place : place + 1] = project.configs(())
        else:
            words += ["--configfile", *project.configs(())]
        done = project.snakemake(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    assert project.plan() == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not re.match(r"[a-z]+:", target) and not target.startswith("results/"):
            assert (page.parent / target).exists(), target


# How code and docs cite a page: by its numbered sections, the losses' rows R and D, or the words of a heading.
ANCHOR = r"(?:\d+(?:\.\d+)*|[DR]\d+(?:-neg)?)"
CITATION = re.compile(rf"docs/(\w+)\.md((?:(?:,| and)? {ANCHOR}\b)*)(?:, \"([^\"\n]+)\")?")
PLACES = ("src", "workflow", "docs", "tests", "config", "slurm", "benchmarks", "envs", ".ci")
KINDS = (".py", ".md", ".smk", ".yaml", ".toml", ".sh", ".html", ".js", ".css")
# Files of a run, and documents of others, cited by name.
ELSEWHERE = re.compile(r"seeds|table\w+|NearID_README|REPRODUCTION|LICENSE")


def texts():
    """(file, text) of code, docs and config."""
    below = (path for place in PLACES for path in (ROOT / place).rglob("*"))
    for path in sorted({*below, *(path for path in ROOT.iterdir() if not path.name.startswith("."))}):
        read = path.suffix in KINDS or path.name in ("Makefile", "Snakefile")
        if path.is_file() and read and path != Path(__file__).resolve():
            yield path.relative_to(ROOT).as_posix(), path.read_text()


def anchors_of(page):
    """What a page may be cited by: numbers and words of its headings, and rows D."""
    text = (ROOT / f"docs/{page}.md").read_text()
    headings = re.findall(rf"^#+ (?:({ANCHOR}) )?(.+)$", text, re.MULTILINE)
    return {part for heading in headings for part in heading} | set(re.findall(r"^\| (D\d+) \|", text, re.MULTILINE))


def test_citations_lead_somewhere():
    followed, astray = 0, []
    for file, text in texts():
        for page, numbers, words in CITATION.findall(text):
            cited = {*re.findall(ANCHOR, numbers), *([words] if words else [])}
            there = (ROOT / f"docs/{page}.md").is_file()
            followed += len(cited)
            astray += [] if there and cited <= anchors_of(page) else [f"{file}: docs/{page}.md {sorted(cited)}"]
    assert not astray
    assert followed > 80


def test_rows_of_the_losses_are_there():
    known = anchors_of("losses")
    for file, text in texts():
        if file.startswith("src/nearid/heads/") or file == "docs/losses.md":
            assert set(re.findall(r"\b[DR]\d+(?:-neg)?\b", text)) <= known, file


def test_no_document_is_cited_that_is_not_here():
    here = {Path(file).name for file, _ in texts()}
    for file, text in texts():
        named = {match for match in re.findall(r"(\w+)\.md\b", text) if not ELSEWHERE.fullmatch(match)}
        assert {f"{name}.md" for name in named} <= here, file
        assert not re.search(r"\b[Ss]pec[ /]\w+\.md", text), file


def test_the_readme_links_every_page():
    linked = set(re.findall(r"\]\((docs/\w+\.md)\)", (ROOT / "README.md").read_text()))
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")} <= linked


def test_there_is_something_to_check():
    assert len(ALL) > 40 and "nearid export results/demo --output model" in LINES


def test_the_readme_names_the_packages_that_ci_installs():
    (listed,) = re.findall(r"^packages=\((.*?)\)", (ROOT / ".ci/run").read_text(), re.MULTILINE | re.DOTALL)
    (line,) = re.findall(r"^apt-get install --yes (.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert line.split() == listed.replace("\\\n", " ").split()
