"""Judge a backbone for the demo on identities that no run of the demo has: SSR by source and M-O of five heads.

    python benchmarks/demo_trials.py shipped
    python benchmarks/demo_trials.py wide results/backbone

The workflow itself runs, with demo_trials.yaml; the numbers go to results/demo_backbones.json. Pictures stay for the
next backbone, whose tokens, heads and scores replace these.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

from nearid.config import load
from nearid.io.files import read_json, write_json, write_text
from nearid.layout import Layout
from nearid.paper.metrics import read_metrics

CONFIGS = ("config/demo.yaml", "benchmarks/demo_trials.yaml")
RESULTS = Path("benchmarks/results/demo_backbones.json")
SOURCES = {"two": "sibling", "pasted": "cut_paste", "three": "sibling_three", "one": "sibling_one"}


def main() -> None:
    """Run the trial and keep its numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the backbone in the results")
    parser.add_argument("folder", nargs="?", default="src/nearid/demo/siglip", help="the backbone")
    chosen = parser.parse_args()
    config = load(*CONFIGS)
    layout, scorers = Layout(Path("results", config["name"])), config["select"]["scorers"]
    with tempfile.TemporaryDirectory() as folder:
        overlay = Path(folder, "backbone.yaml")
        write_text(overlay, f"backbones: {{demo_siglip: {{path: {chosen.folder}}}}}\n")
        asked = ["--cores", str(os.cpu_count()), "--nolock", "--configfile", *CONFIGS, str(overlay)]
        subprocess.run(["snakemake", *asked, "--", *(str(layout.metrics(name)) for name in scorers)], check=True)
    pretraining = read_json(Path(chosen.folder, "pretraining.json"))
    found = {name: pretraining[name] for name in ("width", "steps")} | {"scorers": {}}
    for name, metrics in read_metrics(layout, scorers).items():
        by_source = metrics.content["nearid_bench"]["full"]["sources"]
        found["scorers"][name] = {
            "ssr": {short: round(by_source[source]["ssr"], 1) for short, source in SOURCES.items()},
            "m_o": round(metrics.content["mtg"]["full"]["m_o"], 3),
        }
    write_json(RESULTS, (read_json(RESULTS) if RESULTS.is_file() else {}) | {chosen.name: found})


if __name__ == "__main__":
    main()
