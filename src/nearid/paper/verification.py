"""Whether a results folder still agrees with its manifest, and whether its tables follow from its scores."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nearid.config import check_schema, step_settings
from nearid.config.settings.paper import CompareWithPaper, MakeTable, WriteSummary
from nearid.config.types import Config
from nearid.errors import UserError
from nearid.io.hashing import hash_file
from nearid.io.paths import below
from nearid.layout import Layout
from nearid.paper.comparison import write_comparison
from nearid.paper.costs import Cost, to_csv
from nearid.paper.crate import find_altered
from nearid.paper.formats import write_table
from nearid.paper.manifest import about_script, seal
from nearid.paper.summary import write_summary
from nearid.paper.tables import build_table


def verify(layout: Layout) -> list[str]:
    """Check a results folder; returns what was found to be right, in words.

    Checks the hashes of the manifest itself, of every artifact and of every input. Tables, comparison and summary are
    then made again from the similarities, in a private folder: their bytes must be those of the run.

    Raises:
        UserError: the manifest cannot be read or is not a run's, or files differ; it names all of them.
    """
    manifest = _read_manifest(layout)
    result = manifest["result"]
    # Anybody can write a manifest with a seal: its ids become paths and modules, so they must be a config's.
    config = result["config"]
    check_schema(config)
    problems = [
        f"{name}: {problem}"
        for part in ("artifacts", "inputs")
        for name, expected in result[part].items()
        if (problem := _compare_hash(below(layout.root, name), expected))
    ]
    script = layout.paper("provenance.js")
    if not script.is_file() or script.read_text() != about_script(result, manifest["run"]):
        problems.append("paper/provenance.js: has other content than the manifest")
    costs = to_csv(Cost(**row) for row in manifest["run"]["cost_beside_paper"]["rows"])
    if not layout.paper("costs.csv").is_file() or layout.paper("costs.csv").read_bytes() != costs.encode():
        problems.append("paper/costs.csv: has other content than the manifest")
    problems += [f"{name}: has other content than the crate" for name in find_altered(layout, manifest)]
    if not problems:
        problems = [f"{name}: does not follow from the scores" for name in _find_underived(config, layout)]
    if problems:
        raise UserError(
            layout.root,
            "".join(f"\n            {problem}" for problem in problems),
            "every file as the manifest recorded it",
            "make the files named here again (snakemake), then the manifest",
        )
    return [
        f"manifest whole; {len(result['artifacts'])} artifacts and {len(result['inputs'])} inputs as recorded",
        f"{len(config['select']['tables'])} tables, comparison and summary follow from the scores of "
        f"{len(config['select']['scorers'])} scorers, byte for byte",
    ]


def _read_manifest(layout: Layout) -> dict[str, Any]:
    path = layout.paper("manifest.json")
    if not path.is_file():
        raise UserError(
            path, "no such file", "the manifest of a finished run", "run snakemake, or `nearid paper manifest`"
        )
    action = "make it again: `nearid paper manifest`"
    try:
        text = path.read_text()
        manifest = json.loads(text)
        sealed = seal(manifest["result"], manifest["run"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(path, f"no manifest ({error})", "a manifest", action) from error
    if text != json.dumps(sealed, indent=2, sort_keys=True, allow_nan=False) + "\n":
        raise UserError(path, "content that does not match its own seal", "the manifest as written", action)
    return manifest


def _compare_hash(path: Path, expected: str | None) -> str | None:
    if expected is None:
        return "was not there when the manifest was written" if path.is_file() else "was declared and never made"
    if not path.is_file():
        return "is missing"
    return None if hash_file(path) == expected else "has other content than recorded"


def _find_underived(config: Config, layout: Layout) -> Iterator[str]:
    """Names of files that differ from what the scores give today."""
    from nearid.config.settings.scores import SummariseScores
    from nearid.scores.summary import summarise

    with tempfile.TemporaryDirectory() as folder:
        again = Layout(Path(folder) / layout.root.name)
        for scorer in config["select"]["scorers"]:
            again.metrics(scorer).parent.mkdir(parents=True)
            for path in layout.metrics(scorer).parent.iterdir():
                if path != layout.metrics(scorer):
                    (again.metrics(scorer).parent / path.name).symlink_to(path.resolve())
            settings = SummariseScores.parse(step_settings("summarise_scores", config, scorer=scorer))
            summarise(settings, again)
        for counted in ("data", "distractors"):  # read by the table of the data set
            (again.root / counted).symlink_to((layout.root / counted).resolve())
        for table in config["select"]["tables"]:
            write_table(build_table(MakeTable.parse(step_settings("make_table", config, table=table)), again), again)
        write_comparison(CompareWithPaper.parse(step_settings("compare_with_paper", config)), again)
        write_summary(WriteSummary.parse(step_settings("write_summary", config)), again)
        for path in sorted(path for path in again.root.rglob("*") if path.is_file() and not path.is_symlink()):
            name = path.relative_to(again.root)
            if path.read_bytes() != (layout.root / name).read_bytes():
                yield str(name)
