"""Every command that README and docs show exists, with its options; every link leads somewhere."""

import re
import shlex
from pathlib import Path

import click
import pytest

from nearid.cli import nearid as command

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "slurm/README.md"])
FENCE = re.compile(r"^```(?:bash|sh)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:nearid|make|snakemake) [^`…]+)`")
# What needs a GPU, the hub, a cluster or root, or takes an hour; and what is shown as a pattern.
ELSEWHERE = ("make demo-backbone", "make test-slurm", "snakemake --profile slurm")


def commands(page):
    text = page.read_text()
    joined = [line for block in FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    found = [*joined, *INLINE.findall(text)]
    for line in found:
        line = line.split(" #")[0].strip()
        piece = line.rsplit("|", 1)[-1].strip()
        if re.match(r"(nearid|make|snakemake)\s", piece) and "{" not in piece:
            yield piece


ALL = sorted({(page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in commands(page)})


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
    """Follow sub-commands as far as they go, then hold the options against the command's."""
    context, found = click.Context(group), group
    while words and isinstance(found, click.Group) and not words[0].startswith("-"):
        found = found.get_command(context, words.pop(0))
        assert found is not None
    known = {option for parameter in found.params for option in parameter.opts} | {"--help", "--version"}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not re.match(r"[a-z]+:", target) and not target.startswith("results/"):
            assert (page.parent / target).exists(), target


def test_there_is_something_to_check():
    assert len(ALL) > 25 and any(line.startswith(ELSEWHERE) for _, line in ALL)
