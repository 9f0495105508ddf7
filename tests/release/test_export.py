"""What leaves the house opens elsewhere, and gives the run's own similarities."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import nearid
from nearid.cli import nearid as command
from nearid.config.settings.scores import ScoreNearIDBench
from nearid.errors import UserError
from nearid.io.files import read_json
from nearid.release.export import export_data, export_model
from nearid.scores.nearid_bench import score_nearid_bench

pytestmark = pytest.mark.numerics

# The run keeps tokens in float16; its cosines differ from those of a whole float32 model by less than this.
TOLERANCE = 1e-3
# A fresh process without this package: stock classes, and a class of one's own as the release has it.
STRANGER = """
import io, sys
import pyarrow.parquet as pq, torch
from PIL import Image
from transformers import AutoImageProcessor, PretrainedConfig, PreTrainedModel, SiglipVisionConfig, SiglipVisionModel

class Config(PretrainedConfig):
    model_type = "nearid"
    def __init__(self, vision_config=None, embed_dim=1152, normalize_embeddings=True, **rest):
        super().__init__(**rest)
        self.vision_config, self.embed_dim, self.normalize_embeddings = vision_config, embed_dim, normalize_embeddings

class Release(PreTrainedModel):
    config_class = Config
    def _init_weights(self, module): pass
    def __init__(self, config):
        super().__init__(config)
        self.backbone = SiglipVisionModel(SiglipVisionConfig(**config.vision_config))
        self.post_init()
    def forward(self, pixel_values):
        return self.backbone(pixel_values=pixel_values)

siglip, release, root = sys.argv[1:]
rows = {kind: pq.read_table(f"{root}/{path}/000.parquet").to_pylist()
        for kind, path in (("images", "data/positives"), ("nimg", "distractors/sibling"))}
table = [row for row in pq.read_table(f"{root}/scores/nearid/nearid_bench.parquet").to_pylist()
         if row["condition"] == "full"]
for cls, folder in ((SiglipVisionModel, siglip), (Release, release)):
    model, report = cls.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"], report
    processor = AutoImageProcessor.from_pretrained(folder)
    def embed(kind, row, slot):
        image = Image.open(io.BytesIO(rows[kind][row][f"{kind}{slot}"]["bytes"])).convert("RGB")
        with torch.inference_mode():
            vector = model.eval()(pixel_values=processor(image, return_tensors="pt")["pixel_values"]).pooler_output[0]
        return vector / vector.norm()
    assert len(table) == 4
    errors = [abs(float(embed("images", line["row"], 1) @ embed(*pair[:1], line["row"], pair[1])) - line[pair[2]])
              for line in table for pair in (("images", 2, "sim_01"), ("nimg", 1, "cross_00"), ("nimg", 2, "cross_01"))]
    print(max(errors))
assert "nearid" not in sys.modules
"""


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    for form in ("siglip", "release"):
        export_model(run.layout, "nearid", folder / form, form)
    return folder


def test_both_layouts_give_the_runs_similarities_in_a_fresh_process(run, exported):
    arguments = [exported / "siglip", exported / "release", run.layout.root]
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, *map(str, arguments)], capture_output=True, text=True, cwd=exported
    )
    assert done.returncode == 0, done.stderr[-2000:]
    errors = [float(line) for line in done.stdout.split()]
    assert len(errors) == 2 and max(errors) < TOLERANCE


def test_an_export_is_a_scorer_again(run, exported, tmp_path):
    for form in ("siglip", "release"):
        scorer = {"kind": "head", "path": str(exported / form)}
        settings = ScoreNearIDBench.parse(run.scoring | {"scorer": scorer})
        score_nearid_bench(settings, run.layout, tmp_path / f"{form}.parquet")
        ours = run.layout.scores("nearid", "nearid_bench").read_bytes()
        assert (tmp_path / f"{form}.parquet").read_bytes() == ours


def test_library_opens_head_export_and_release_alike(run, exported):
    image, other = run.images["positives", 50, 0], run.images["positives", 50, 1]
    folders = [run.layout.head("nearid"), exported / "siglip", exported / "release"]
    values = [nearid.load(folder).similarity(image, other) for folder in folders]
    line = pq.read_table(run.layout.scores("nearid", "nearid_bench")).to_pylist()[0]
    assert values == pytest.approx([values[0]] * 3, abs=1e-6)
    assert values[0] == pytest.approx(line["sim_01"], abs=TOLERANCE)
    frozen = nearid.load(run.backbone).similarity(image, other)
    assert abs(frozen - values[0]) > 5 * TOLERANCE  # the head is what makes the difference


def test_library_opens_a_hub_id_from_the_cache_offline(run, exported, tmp_path):
    cache = tmp_path / "hub/models--me--nearid-tiny"
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(exported / "siglip", cache / "snapshots" / commit)
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text(commit)
    pictures = tmp_path / "pictures.npy"
    np.save(pictures, np.stack([run.images["positives", 50, slot] for slot in (0, 1)]))
    program = (
        f"import nearid, numpy; a, b = numpy.load({str(pictures)!r})\n"
        "print(nearid.load('me/nearid-tiny').similarity(a, b))\n"
        f"print(nearid.load('me/nearid-tiny', revision={commit!r}).similarity(a, b))\n"
        "try: nearid.load('me/nowhere')\n"
        "except nearid.errors.UserError as error: print(error)\n"
    )
    source = str(Path(nearid.__file__).parents[1])
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": source}
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second, *told = done.stdout.splitlines()
    ours = nearid.load(exported / "siglip").similarity(run.images["positives", 50, 0], run.images["positives", 50, 1])
    assert [float(first), float(second)] == pytest.approx([ours, ours], abs=1e-6)
    assert "me/nowhere" in " ".join(told)


def test_card_and_weights(exported):
    card = (exported / "siglip/README.md").read_text()
    assert "license: mit" in card and "SiglipVisionModel" in card and "@article" in card
    assert "| NearID-bench SSR, all | 75.0 | 50.0 to 100.0 | 4 |" in card and "80.5" in card
    assert read_json(exported / "release/config.json")["model_type"] == "nearid"
    assert not [path for path in exported.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]


def test_same_run_same_bytes(run, exported, tmp_path):
    export_model(run.layout, "nearid", tmp_path / "again")
    for path in (exported / "siglip").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_refusals(run, exported, tmp_path):
    with pytest.raises(UserError, match="one of: nearid"):
        export_model(run.layout, "../nearid", tmp_path / "a")
    with pytest.raises(UserError, match="something is there"):
        export_model(run.layout, "nearid", exported / "siglip")
    assert not list(tmp_path.iterdir())


def test_another_backbone_than_the_trained_one_is_refused(run, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    from nearid.layout import Layout

    root = shutil.copytree(run.layout.root, tmp_path / "run")
    copy = shutil.copytree(run.backbone, tmp_path / "backbone")
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if name.endswith("post_layernorm.bias"))
    save_file(weights | {name: torch.ones_like(weights[name])}, copy / "model.safetensors", {"format": "pt"})
    config = root / "heads/nearid/config.json"
    config.write_text(config.read_text().replace(str(run.backbone), str(copy)))
    with pytest.raises(UserError, match="other weights"):
        export_model(Layout(root), "nearid", tmp_path / "out")


def test_datasets_reads_the_exported_sets(run, tmp_path):
    from datasets import load_dataset

    folders = export_data(run.layout, tmp_path / "sets")
    assert [folder.name for folder in folders] == ["NearID", "NearID-sibling"]
    rows = load_dataset(str(folders[0]), split="train", cache_dir=str(tmp_path / "cache"))
    edits = load_dataset(str(folders[1]), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows["id"] == edits["id"] == [50, 51, 52, 53] and set(rows["split"]) == {"test"}
    assert "seed1" not in edits.column_names and rows[0]["images3"] is None
    assert (run.images["sibling", 51, 1] == edits[1]["nimg2"]).all()
    assert "split" in (folders[0] / "README.md").read_text()


def test_command(run, tmp_path):
    result = CliRunner().invoke(command, ["export", str(run.layout.root), "--output", str(tmp_path / "model")])
    assert result.exit_code == 0, result.output
    assert Path(tmp_path / "model/model.safetensors").is_file()
