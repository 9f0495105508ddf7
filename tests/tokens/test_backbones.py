"""The SigLIP backbone against transformers' own processor and model; models that cannot be used."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from token_images import open_backbone
from transformers import AutoImageProcessor, SiglipModel
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

from nearid.errors import UserError
from nearid.heads.map_head import MAPHead
from nearid.tokens.pretrained import read_levels

pytestmark = pytest.mark.numerics


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for height, width in ((28, 28), (40, 33), (3, 50))]


def test_pixels_tokens_and_pooled_equal_transformers(settings, model_folder, images):
    backbone = open_backbone(settings)
    processor = AutoImageProcessor.from_pretrained(model_folder, backend="pil")
    pixels = processor([Image.fromarray(image) for image in images], return_tensors="pt")["pixel_values"]
    levels = backbone.preprocess(images)
    assert levels.dtype == torch.uint8 and torch.equal(backbone.on_device(levels), pixels)
    # Another implementation: equal to float64 up to rounding.
    model = SiglipModel.from_pretrained(model_folder).eval().double()
    with torch.no_grad():
        expected = model.vision_model(pixels.double())
    tokens = backbone.tokens(images)
    assert tokens.shape[1:] == backbone.token_shape == (16, 32)
    assert tokens.dtype == torch.float32
    torch.testing.assert_close(tokens.double(), expected.last_hidden_state, rtol=0, atol=1e-5)
    torch.testing.assert_close(backbone.pooled(tokens).double(), expected.pooler_output, rtol=0, atol=1e-5)
    # So are the tokens of a batch of another size.
    alone = torch.cat([backbone.tokens([image]) for image in images])
    torch.testing.assert_close(alone.double(), expected.last_hidden_state, rtol=0, atol=1e-5)


def test_a_processor_that_does_more_than_look_up_levels_gives_its_own_numbers(settings, images):
    plain = open_backbone(settings)

    class Centred:
        """Subtracts each image's mean, which no table of levels can do."""

        def __call__(self, image, **options):
            made = plain.processor(image, **options)
            made["pixel_values"] = made["pixel_values"].float() - made["pixel_values"].float().mean()
            return made

    assert read_levels(plain.processor) is not None and read_levels(Centred()) is None
    backbone = open_backbone(settings)
    backbone.processor, backbone._levels = Centred(), read_levels(Centred())
    pixels = backbone.preprocess(images)
    assert pixels.dtype == torch.float32 and pixels[0].mean().abs() < 1e-5
    assert torch.equal(backbone.on_device(pixels), pixels)


def test_own_head_starts_ours(settings, images):
    backbone = open_backbone(settings)
    SiglipMultiheadAttentionPoolingHead(backbone.config).load_state_dict(backbone.head_state())
    head = MAPHead(backbone.config)
    head.load_state_dict(backbone.head_state())
    tokens = backbone.tokens(images)
    torch.testing.assert_close(head(tokens), backbone.pooled(tokens), rtol=1e-5, atol=1e-5)


def test_hashes_tell_weights_precision_and_preprocessing_apart(settings, model_folder, tmp_path):
    first = open_backbone(settings)
    again = open_backbone(settings)
    assert (first.weights_hash, first.preprocess_hash) == (again.weights_hash, again.preprocess_hash)
    assert open_backbone(settings | {"precision": "bfloat16"}).weights_hash != first.weights_hash
    other = shutil.copytree(model_folder, tmp_path / "other")
    preprocessing = json.loads((other / "preprocessor_config.json").read_text())
    (other / "preprocessor_config.json").write_text(json.dumps(preprocessing | {"resample": 2}))
    changed = open_backbone(settings | {"path": str(other)})
    assert changed.weights_hash == first.weights_hash
    assert changed.preprocess_hash != first.preprocess_hash


@pytest.mark.parametrize("number", ["bfloat16", "float16"])
def test_autocast_leaves_the_weights_as_they_are(settings, model_folder, images, number):
    backbone = open_backbone(settings | {"precision": f"autocast_{number}"})
    model = SiglipModel.from_pretrained(model_folder).eval()
    with torch.no_grad(), torch.autocast("cpu", getattr(torch, number)):
        expected = model.vision_model(backbone.on_device(backbone.preprocess(images))).last_hidden_state
    tokens, plain = backbone.tokens(images), open_backbone(settings)
    assert torch.equal(tokens, expected) and not torch.equal(tokens.float(), plain.tokens(images))
    assert {weight.dtype for weight in backbone.model.state_dict().values()} == {torch.float32}
    hashes = {open_backbone(settings | {"precision": other}).weights_hash for other in (number, "float32")}
    assert backbone.weights_hash not in hashes
    assert {name: weight.dtype for name, weight in backbone.head_state().items()} == {
        name: torch.float32 for name in plain.head_state()
    }


@pytest.mark.slow
def test_compiled_gives_the_same_whatever_the_size_of_a_batch(settings, images):
    if shutil.which("c++") is None and shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler")
    backbone = open_backbone(settings | {"compile": True})
    tokens = backbone.tokens(images)
    torch.testing.assert_close(tokens, open_backbone(settings).tokens(images), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(backbone.tokens(images[:1]), tokens[:1], rtol=1e-4, atol=1e-4)


def edit_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "no model to load"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no model to load"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "no model to load"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x10" + b"\0" * 30), "no model to load"),
        (lambda folder: edit_config(folder, model_type="siglip2"), "model type 'siglip2'"),
        (lambda folder: edit_config(folder, vision_config={"num_hidden_layers": 3}), "no weights for|no model"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"cut"), "no model to load"),
    ],
)
def test_unfit_model_is_refused(settings, model_folder, tmp_path, spoil, message):
    folder = shutil.copytree(model_folder, tmp_path / "spoilt")
    spoil(folder)
    with pytest.raises(UserError, match=message) as caught:
        open_backbone(settings | {"path": str(folder)})
    assert str(folder) in caught.value.where


def test_processor_of_another_size_is_refused(settings, model_folder, tmp_path, images):
    folder = shutil.copytree(model_folder, tmp_path / "spoilt")
    preprocessing = json.loads((folder / "preprocessor_config.json").read_text())
    size = {"height": 14, "width": 14}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing | {"size": size}))
    with pytest.raises(UserError, match="14, 14"):
        open_backbone(settings | {"path": str(folder)}).tokens(images)


def test_pickled_weights_are_refused(settings, model_folder, tmp_path):
    pickled = shutil.copytree(model_folder, tmp_path / "pickled")
    (pickled / "model.safetensors").unlink()
    torch.save(SiglipModel.from_pretrained(model_folder).state_dict(), pickled / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"model\.safetensors"):
        open_backbone(settings | {"path": str(pickled)})
