import pytest
import torch
from token_images import write_world
from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel

TEXT = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 64}
VISION = {**TEXT, "num_hidden_layers": 2, "image_size": 28, "patch_size": 7}
del VISION["vocab_size"]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A tiny random SigLIP as a hub repository has it: both towers, its own image processor."""
    folder = tmp_path_factory.mktemp("models") / "tiny_siglip"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SiglipModel(SiglipConfig(text_config=TEXT, vision_config=VISION))
        for parameter in model.parameters():  # zero biases would hide that one is forgotten
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    processor = SiglipImageProcessorPil(size={"height": 28, "width": 28}, image_mean=[0.4] * 3, image_std=[0.3] * 3)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def settings(model_folder):
    return {
        "kind": "siglip",
        "path": str(model_folder),
        "revision": "",
        "precision": "float32",
        "batch_size": 4,
    }


@pytest.fixture
def layout(tmp_path):
    return write_world(tmp_path / "results")
