"""The files and entries of docs/own_generator.md, verbatim; the workflow's rule runs the first engine."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
import yaml
from painters import engine_of
from pictures import draw
from tiny_pipelines import save_sdxl

from nearid.config import load, missing_members, step_settings
from nearid.data.positives import read_rows
from nearid.distractors import engines
from nearid.distractors.finishing import dilate
from nearid.distractors.protocol import Target
from nearid.errors import UserError
from nearid.io.images import decode_rgb, decode_stored_mask
from nearid.layout import Layout
from nearid.rehearsal.pipelines import SD15_UNET

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

    # No mix trains on it, so it is painted only for two identities, of two or three views.
    numbers = json.loads(targets[1].read_text())
    assert numbers["painted"] in range(4, 7) and numbers["changed_outside"] == 0
    rows = zip(read_rows(layout.positives("000")), read_rows(targets[0]), strict=True)
    for positive, painted in rows:
        if painted["nimg1"] is not None:
            view, mask = decode_rgb(positive["images1"]["bytes"]), decode_stored_mask(positive["masks1"]["bytes"])
            change = np.abs(decode_rgb(painted["nimg1"]["bytes"]).astype(int) - view).sum(axis=-1)
            assert change[mask].mean() > 6 and not change[~mask].any()


def test_the_diffusion_engine_of_the_page_paints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs/own_generator.md").read_text()
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[1]
    for_tint, for_sd = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[1:]
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines/sd_inpaint.py").write_text(code)
    monkeypatch.setattr(engines, "__path__", [*engines.__path__, str(tmp_path / "engines")])
    monkeypatch.chdir(ROOT)
    for text in (for_tint, for_sd):
        (tmp_path / "overlay.yaml").write_text(text)
        config = load(tmp_path / "overlay.yaml")
    assert missing_members(config) == {"nearid.distractors.engines.sd_inpaint": ["sources.sd"]}
    assert "sd" in config["groups"]["unseen_fill"] and "sd" not in config["groups"]["main7"]

    save_sdxl(tmp_path / "sdxl")
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(**{**SD15_UNET, "in_channels": 9})
    parts = diffusers.StableDiffusionXLInpaintPipeline.from_pretrained(tmp_path / "sdxl").components
    kept = {name: parts[name] for name in ("vae", "text_encoder", "tokenizer", "scheduler")}
    made = diffusers.StableDiffusionInpaintPipeline(
        **kept, unet=unet, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    made.save_pretrained(tmp_path / "model")
    source = step_settings("inpaint_shard", config, source="sd")["source"] | {"working_px": 32}
    source["options"] |= {"model": str(tmp_path / "model"), "steps": 2, "precision": "float32"}
    with pytest.raises(UserError, match=r"(?s)engine sd_inpaint, strength.*negative_prompt"):
        engine_of(source, strength=0.5)
    engine = engine_of(source)
    image, mask = draw(0)
    target = Target(0, 0, image, mask, dilate(mask, 2), "class", "test", "a striped disc", "prompt")
    prompts = list(engine.encode(["a striped disc"]))
    first, again, other = (engine.paint_batch([target], [seed], prompts)[0] for seed in (3, 3, 4))
    assert isinstance(first, np.ndarray) and np.isfinite(first).all()
    assert np.array_equal(first, again) and not np.array_equal(first, other)
