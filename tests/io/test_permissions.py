"""A model or head that may not be read is told as that, not as one to be trained again or fetched."""

import errno
import os

import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers import SiglipImageProcessorPil, SiglipVisionConfig, SiglipVisionModel

import nearid
from nearid.config.settings.tokens import BackboneSettings
from nearid.errors import UserError
from nearid.heads.map_head import MAPHead
from nearid.io.files import write_json
from nearid.io.model_folders import refuse_unreadable
from nearid.scores.scorers import head
from nearid.tokens import load_backbone

VISION = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 1, "num_attention_heads": 4}


def denied(path):
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def deny(monkeypatch, module, name, error):
    """What the system does to all but root, as whom these tests run."""

    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(module, name, fail)


@pytest.fixture
def folder(tmp_path):
    config = SiglipVisionConfig(**VISION, image_size=28, patch_size=7)
    SiglipVisionModel(config).save_pretrained(tmp_path)
    SiglipImageProcessorPil(size={"height": 28, "width": 28}).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("reader", ["read_config", "load_file"])
def test_a_head(tmp_path, monkeypatch, reader):
    config = SiglipVisionConfig(**VISION)
    save_file(MAPHead(config).state_dict(), tmp_path / "head.safetensors")
    write_json(tmp_path / "config.json", {"vision_config": config.to_dict()})
    assert head.load_head(tmp_path)
    # What reads weights is imported when it is needed.
    module = head if reader == "read_config" else safetensors.torch
    deny(monkeypatch, module, reader, denied(tmp_path / "config.json"))
    with pytest.raises(UserError, match="no permission") as told:
        head.load_head(tmp_path)
    assert "train" not in str(told.value) and "chmod" in told.value.action


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_backbone(folder, monkeypatch, wrapped):
    settings = BackboneSettings(kind="siglip", path=str(folder), revision="", precision="float32", batch_size=1)
    assert load_backbone(settings)
    error = denied(folder / "model.safetensors")
    if wrapped:  # as transformers does
        error = OSError("Can't load the model")
        error.__cause__ = denied(folder / "model.safetensors")
    deny(monkeypatch, SiglipVisionModel, "from_pretrained", error)
    with pytest.raises(UserError, match="no permission") as told:
        load_backbone(settings)
    assert told.value.where == str(folder / "model.safetensors")


@pytest.mark.parametrize("reader", ["read_config", "_open"])
def test_a_model_folder(folder, monkeypatch, reader):
    from nearid.release import model

    assert nearid.load(folder, device="cpu").embed([torch.zeros(3, 9, 9)]).shape == (1, 32)
    deny(monkeypatch, model, reader, denied(folder))
    with pytest.raises(UserError, match="no permission"):
        nearid.load(folder)


@pytest.mark.parametrize("error", [OSError("cut off"), KeyError("head.probe"), SafetensorError("header too large")])
def test_other_errors_are_other_errors(tmp_path, error):
    refuse_unreadable(tmp_path, error)
    with pytest.raises(UserError, match="no permission"):
        refuse_unreadable(tmp_path, SafetensorError("Error while opening: Permission denied (os error 13)"))
