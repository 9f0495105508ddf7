"""CLIP, DINOv2 and any model by its path, against transformers' own classes with tiny random weights."""

import numpy as np
import pytest
import torch
from PIL import Image
from token_images import open_backbone
from transformers import (
    AutoImageProcessor,
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    ConvNextConfig,
    ConvNextImageProcessorPil,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from nearid.errors import UserError
from nearid.io.images import UnpreparedError, naming_pictures

pytestmark = pytest.mark.numerics

WIDTH = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = {**WIDTH, "image_size": 28, "patch_size": 14}
CROP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}}


def save(folder, model, processor):
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return model


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for height, width in ((28, 28), (40, 33))]


def load(folder, kind, images):
    settings = {"kind": kind, "path": str(folder), "revision": "", "precision": "float32", "batch_size": 4}
    backbone = open_backbone(settings)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    pixels = processor([Image.fromarray(image) for image in images], return_tensors="pt")["pixel_values"]
    assert torch.equal(backbone.on_device(backbone.preprocess(images)), pixels)
    tokens = backbone.tokens(images)
    assert tokens.shape[1:] == backbone.token_shape
    return backbone, tokens, pixels


def clip(folder):
    text = {**WIDTH, "vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2}
    config = CLIPConfig(text_config=text, vision_config={**VISION, "projection_dim": 24}, projection_dim=24)
    return save(folder, CLIPModel(config), CLIPImageProcessorPil(**CROP))


@torch.no_grad()
def test_clip_gives_its_projected_image_feature(tmp_path, images):
    model = clip(tmp_path)
    backbone, tokens, pixels = load(tmp_path, "clip", images)
    assert backbone.token_shape == (5, 32) and backbone.prefix_tokens == 1
    expected = model.visual_projection(model.vision_model(pixels).pooler_output)
    torch.testing.assert_close(backbone.pooled(tokens), expected)


@torch.no_grad()
def test_dinov2_gives_its_class_token(tmp_path, images):
    model = save(tmp_path, Dinov2Model(Dinov2Config(**VISION)), BitImageProcessorPil(**CROP))
    backbone, tokens, pixels = load(tmp_path, "dinov2", images)
    output = model(pixels)
    torch.testing.assert_close(tokens, output.last_hidden_state)
    torch.testing.assert_close(backbone.pooled(tokens), output.pooler_output)
    with pytest.raises(UserError, match="without attention-pooling head"):
        backbone.head_state()


@torch.no_grad()
def test_any_model_gives_its_own_embedding_and_its_patches(tmp_path, images):
    size = {"size": {"height": 28, "width": 28}}
    model = save(tmp_path / "vit", ViTModel(ViTConfig(**VISION)), ViTImageProcessorPil(**size))
    backbone, tokens, pixels = load(tmp_path / "vit", "auto", images)
    output = model(pixels)
    torch.testing.assert_close(backbone.pooled(tokens), output.pooler_output)
    torch.testing.assert_close(tokens[:, backbone.prefix_tokens :], output.last_hidden_state[:, 1:])

    bare = save(tmp_path / "bare", ViTModel(ViTConfig(**VISION), add_pooling_layer=False), ViTImageProcessorPil(**size))
    backbone, tokens, pixels = load(tmp_path / "bare", "auto", images)
    torch.testing.assert_close(backbone.pooled(tokens), bare(pixels).last_hidden_state[:, 0])

    model = clip(tmp_path / "clip")
    backbone, tokens, pixels = load(tmp_path / "clip", "auto", images)
    expected = model.visual_projection(model.vision_model(pixels).pooler_output)
    torch.testing.assert_close(backbone.pooled(tokens)[:, :24], expected)
    assert not backbone.pooled(tokens)[:, 24:].any(), "filled up with zeros, which change no cosine"

    config = ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1])
    model = save(tmp_path / "cnn", ConvNextModel(config), ConvNextImageProcessorPil(size={"shortest_edge": 384}))
    backbone, tokens, pixels = load(tmp_path / "cnn", "auto", images)
    output = model(pixels)
    torch.testing.assert_close(backbone.pooled(tokens), output.pooler_output)
    torch.testing.assert_close(tokens[:, 1:], output.last_hidden_state.flatten(2).mT)


def test_a_model_of_another_kind_is_refused(tmp_path, images):
    clip(tmp_path)
    with pytest.raises(UserError, match="model type 'clip'"):
        load(tmp_path, "dinov2", images)


def test_an_encoder_that_draws_while_it_embeds_is_refused(tmp_path, images):
    from transformers import ViTMAEConfig, ViTMAEModel

    # With few patches it would sometimes draw the same ones twice.
    config = ViTMAEConfig(**{**VISION, "image_size": 56, "patch_size": 7})
    save(tmp_path, ViTMAEModel(config), ViTImageProcessorPil(size={"height": 56, "width": 56}))
    settings = {"kind": "auto", "path": str(tmp_path), "revision": "", "precision": "float32", "batch_size": 4}
    with pytest.raises(UserError, match="draws while it embeds"):
        open_backbone(settings).tokens(images)


@pytest.mark.parametrize("shapes", [((28, 28), (28, 42)), ((40, 33), (33, 40)), ((28, 28), (28, 28), (28, 56))])
def test_a_processor_that_gives_mixed_sizes_is_refused_with_what_to_set(tmp_path, shapes):
    processor = ViTImageProcessorPil(do_resize=False)
    save(tmp_path, Dinov2Model(Dinov2Config(**VISION)), processor)
    settings = {"kind": "dinov2", "path": str(tmp_path), "revision": "", "precision": "float32", "batch_size": 4}
    backbone, pictures = open_backbone(settings), [np.zeros((*shape, 3), np.uint8) for shape in shapes]
    with pytest.raises(UnpreparedError, match="do_center_crop") as told:
        backbone.preprocess(pictures)
    assert told.value.place == len(shapes) - 1 and f"{shapes[-1][1]} x {shapes[-1][0]} px" in told.value.found
    with (
        pytest.raises(UserError, match=r"00\.parquet, id 9, backbone"),
        naming_pictures(lambda place: f"00.parquet, id {[5, 9, 9][place]}"),
    ):
        backbone.preprocess(pictures)
