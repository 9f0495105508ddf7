"""Models load at one place, and code that lies in their folders never runs: source is read, folders are planted."""

import ast
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nearid.config.schema.dataset import ImageFolder
from nearid.config.settings.scores import LocalJudge
from nearid.errors import UserError

PACKAGE = Path(__file__).resolve().parents[2] / "src/nearid"
# Stands in for public code that is run on purpose, from a checkout at a commit.
STAND_IN = PACKAGE / "rehearsal/mind_the_glitch"
LOADS = {"from_pretrained", "from_single_file", "load_dataset", "snapshot_load"}


def calls():
    for path in sorted(PACKAGE.rglob("*.py")):
        if not path.is_relative_to(STAND_IN):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                    yield path.relative_to(PACKAGE), ast.unparse(node.func), name, node


def test_one_place_loads_and_trusts_nothing():
    found = {path: node for path, _, name, node in calls() if name in LOADS}
    assert list(found) == [Path("io/model_folders.py")]
    given = {word.arg: ast.unparse(word.value) for word in found[Path("io/model_folders.py")].keywords}
    assert given["trust_remote_code"] == "False"


def test_pickles_are_read_as_weights_only():
    for path, function, _, node in calls():
        if function == "torch.load":
            assert "weights_only=True" in map(ast.unparse, node.keywords), path
        assert function not in {"pickle.load", "pickle.loads", "joblib.load"}, path
        assert "allow_pickle=True" not in map(ast.unparse, node.keywords), path


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Writes a folder whose model needs the code beside it; fails where that code was run. A `y` waits on stdin."""
    ran, folder = tmp_path / "ran", tmp_path / "planted"
    folder.mkdir()
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    code = f"from pathlib import Path\nPath({str(ran)!r}).touch()\n"
    (folder / "evil.py").write_text(code + "class Evil:\n    pass\nclass Pipe(Evil):\n    pass\n")
    (folder / "model.safetensors").write_bytes(b"")

    def write(name, content):
        (folder / name).write_text(json.dumps(content))
        return folder

    yield write
    assert not ran.exists(), "code of a model's folder was run"


UNKNOWN = {
    "model_type": "evil",
    "auto_map": {name: "evil.Evil" for name in ("AutoConfig", "AutoModel", "AutoModelForImageTextToText")},
}
PROCESSOR = {
    "image_processor_type": "Evil",
    "auto_map": {"AutoImageProcessor": "evil.Evil", "AutoProcessor": "evil.Evil"},
}
VIT = {"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
REFUSED = "Python code of its own"


def settings(kind, folder):
    from nearid.config.settings.tokens import BackboneSettings

    return BackboneSettings(kind=kind, path=str(folder), revision="", precision="float32", batch_size=1)


@pytest.mark.parametrize("kind", ["auto", "siglip", "clip", "dinov2"])
def test_encoders(planted, kind):
    from nearid.tokens import load_backbone

    with pytest.raises(UserError, match=REFUSED):
        load_backbone(settings(kind, planted("config.json", UNKNOWN)))


def test_image_processors(planted):
    from nearid.tokens import load_backbone

    planted("config.json", VIT)
    with pytest.raises(UserError, match=REFUSED):
        load_backbone(settings("auto", planted("preprocessor_config.json", PROCESSOR)))


def test_the_library_and_the_commands(planted, tmp_path):
    import nearid
    from nearid.cli import nearid as command

    folder = planted("config.json", UNKNOWN)
    with pytest.raises(UserError, match=REFUSED):
        nearid.load(folder)
    (folder / "model.safetensors").write_bytes(b"")
    done = CliRunner().invoke(command, ["score", "--model", str(folder), "a.png", "a.png"], input="y\n")
    assert done.exit_code


def test_judges(planted):
    from nearid.scores.judging.local import Judge

    with pytest.raises(UserError, match=REFUSED):
        Judge(LocalJudge(kind="vlm_judge", model=str(planted("config.json", UNKNOWN))))


def test_masks(planted):
    from nearid.data.masks.mask_generation import Estimator

    planted("config.json", UNKNOWN)
    with pytest.raises(UserError, match=REFUSED):
        Estimator(ImageFolder(mask_model=str(planted("processor_config.json", PROCESSOR))))


@pytest.mark.parametrize(
    "index",
    [
        {"_class_name": ["evil", "Pipe"], "_diffusers_version": "0.30.0"},
        {"_class_name": "StableDiffusionXLInpaintPipeline", "unet": ["evil", "Evil"]},
        {"_class_name": "StableDiffusionXLInpaintPipeline", "scheduler": ["evil", "Evil"]},
    ],
    ids=["pipeline", "network", "scheduler"],
)
def test_painting(planted, index):
    from diffusers import DiffusionPipeline, StableDiffusionXLInpaintPipeline

    from nearid.distractors.diffusion import load

    folder = planted("model_index.json", index)
    for part in ("unet", "scheduler"):
        (folder / part).mkdir()
        (folder / part / "evil.py").write_text((folder / "evil.py").read_text())
    for loader in (DiffusionPipeline, StableDiffusionXLInpaintPipeline):
        with pytest.raises(UserError):
            load(loader, str(folder), None)
