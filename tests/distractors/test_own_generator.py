"""docs/own_generator.md as it stands: its file, its entry, run by the workflow's rule."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from nearid.data.positives import read_rows
from nearid.io.images import decode_rgb, decode_stored_mask
from nearid.layout import Layout

ROOT = Path(__file__).parents[2]
TINY = {
    "name": "tint",
    "dataset": {
        "shards": 1,
        "splits": {"val": 1, "test": 1},
        "rendered": {"identities": 3, "size_px": 48, "mtg_train": 1, "mtg_test": 1},
    },
}


def test_the_page_works_as_it_stands(tmp_path: Path) -> None:
    page = (ROOT / "docs/own_generator.md").read_text()
    code, entry = (re.search(rf"```{language}\n(.*?)```", page, re.DOTALL)[1] for language in ("python", "yaml"))
    for name in ("Snakefile", "config.yaml", "config", "envs", "workflow"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    weights = shutil.ignore_patterns("*.safetensors", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=weights)
    (tmp_path / "src/nearid/distractors/engines/tint.py").write_text(code)
    (tmp_path / "overlay.yaml").write_text(entry)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))

    layout = Layout(tmp_path / "results/tint")
    targets = [layout.distractors("tint", "000"), layout.quality("tint", "json")]
    program = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "rules", "--configfile"]
    program += ["config/demo.yaml", "overlay.yaml", "tiny.yaml", "--", *(str(t.relative_to(tmp_path)) for t in targets)]
    environment = {**os.environ, "PYTHONPATH": "", "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    # No mix trains on it, so that it is painted for two identities of two or three views.
    numbers = json.loads(targets[1].read_text())
    assert numbers["painted"] in range(4, 7) and numbers["changed_outside"] == 0
    rows = zip(read_rows(layout.positives("000")), read_rows(targets[0]), strict=True)
    for positive, painted in rows:
        if painted["nimg1"] is not None:
            view, mask = decode_rgb(positive["images1"]["bytes"]), decode_stored_mask(positive["masks1"]["bytes"])
            change = np.abs(decode_rgb(painted["nimg1"]["bytes"]).astype(int) - view).sum(axis=-1)
            assert change[mask].mean() > 6 and not change[~mask].any()
