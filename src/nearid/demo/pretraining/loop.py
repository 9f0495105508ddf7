"""The pretraining loop: resumable at every chunk of the stream."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

from nearid.demo.pretraining.captions import CAPTION_LENGTH, build_tokenizer, write_caption
from nearid.demo.pretraining.losses import DenseReadouts, sigmoid_loss
from nearid.demo.pretraining.settings import Pretraining
from nearid.demo.pretraining.stream import PretrainingBatch, compose_batch, follow_stream
from nearid.demo.pretraining.targets import describe_surroundings
from nearid.io.files import read_json, replacing, write_json, write_text
from nearid.io.hashing import hash_json
from nearid.io.randomness import keyed_rng, keyed_seed

logger = logging.getLogger(__name__)


def pretrain(given: Mapping[str, Any], output: Path) -> None:
    """Train the demo's backbone and write it as a transformers folder with its log.

    Args:
        given: the content of `config/backbone.yaml`.
        output: folder of the model; progress is kept in `output/.progress` and resumed from.

    Raises:
        UserError: a setting is missing, unknown or of another type.
    """
    settings = Pretraining.parse(given, "the backbone's settings", "correct it; config/backbone.yaml has all settings")
    torch.set_num_threads(settings.threads)
    torch.manual_seed(keyed_seed("backbone", settings.seed) % 2**31)
    trainer = _Trainer(settings)
    progress = Path(output) / ".progress" / hash_json(given)[:16]
    progress.mkdir(parents=True, exist_ok=True)
    first = trainer.restore(progress)
    pools = follow_stream("train", settings.seed, first, settings.chunk_objects, settings.size_px, settings.chunks_kept)
    chunks = math.ceil(settings.steps / settings.steps_per_chunk)
    for chunk, pool in zip(range(first, chunks), pools, strict=False):
        start = time.monotonic()
        last = min((chunk + 1) * settings.steps_per_chunk, settings.steps)
        for step in range(chunk * settings.steps_per_chunk, last):
            early = step < settings.steps * settings.early_fraction
            alone = settings.alone_early if early else settings.alone
            batch = compose_batch(pool, settings.batch_size, alone, keyed_rng("batch", settings.seed, step))
            parts = trainer.step(batch, step)
            if step % 20 == 0 or step == last - 1:
                trainer.log.append({"step": step, **{name: round(float(value), 4) for name, value in parts.items()}})
        rate = (last - chunk * settings.steps_per_chunk) / (time.monotonic() - start)
        logger.info("step %d/%d  %.2f steps/s  %s", last, settings.steps, rate, json.dumps(trainer.log[-1]))
        trainer.keep(progress, chunk + 1)
    trainer.export(Path(output))


class _Trainer:
    """Model, read-outs, optimizer and log as one resumable thing."""

    def __init__(self, settings: Pretraining) -> None:
        self.settings = settings
        self.tokenizer = build_tokenizer()
        self.model = SiglipModel(_model_config(settings, len(self.tokenizer)))
        # The sigmoid loss starts from SigLIP's own values: t = 10, b = -10.
        self.model.logit_scale.data.fill_(math.log(10))
        self.model.logit_bias.data.fill_(-10.0)
        self.readouts = DenseReadouts(settings.width, settings.patch_px)
        self.optimizers = _build_optimizers(self.model, self.readouts, settings)
        self.log: list[dict[str, float]] = []

    def step(self, batch: PretrainingBatch, step: int) -> dict[str, Tensor]:
        settings = self.settings
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group.setdefault("peak", group["lr"])
                group["lr"] = group["peak"] * _schedule(step, settings.warmup_steps, settings.steps)
        pixels = torch.from_numpy(batch.images).permute(0, 3, 1, 2).float() / 127.5 - 1
        patches = _patchify(pixels, settings.patch_px)
        hidden = _draw_hidden(patches.shape[:2], settings, keyed_rng("hidden", settings.seed, step))
        share = _patchify(torch.from_numpy(batch.alpha)[:, None], settings.patch_px).mean(-1)
        shown = _unpatchify(patches.masked_fill(hidden[..., None], 0.0), settings.patch_px)
        kept = _keep_patches(share, step, settings, keyed_rng("kept", settings.seed, step))
        tokens = self._encode(shown, kept)
        parts = self.readouts(
            tokens,
            share.gather(1, kept),
            torch.from_numpy(batch.category),
            torch.from_numpy(batch.pattern),
            torch.from_numpy(batch.motif),
            torch.from_numpy(batch.traits),
            torch.from_numpy(batch.scene),
            _gather(patches, kept),
            _gather(describe_surroundings(pixels, torch.from_numpy(batch.alpha), settings.patch_px), kept),
            hidden.gather(1, kept),
        )
        parts["caption"] = self._caption_loss(tokens, batch)
        weights = {**settings.weights.model_dump(), "context": context_weight(step, settings)}
        loss = sum(weight * parts[name] for name, weight in weights.items())
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*self.model.parameters(), *self.readouts.parameters()], 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        return {"loss": loss.detach(), **{name: value.detach() for name, value in parts.items()}}

    def _encode(self, pixels: Tensor, kept: Tensor) -> Tensor:
        vision = self.model.vision_model
        # The losses stay in float32: only the trunk's products, which take most of the time, are in bfloat16.
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            hidden = vision.encoder(inputs_embeds=_gather(vision.embeddings(pixels), kept)).last_hidden_state
        return vision.post_layernorm(hidden.float())

    def _caption_loss(self, tokens: Tensor, batch: PretrainingBatch) -> Tensor:
        # Most of this gradient stops at the tokens: in so small a trunk it would spread the scene into all of them.
        scale = self.settings.caption_gradient
        pooled = self.model.vision_model.head(tokens * scale + tokens.detach() * (1 - scale))
        captions = [write_caption(c, s) for c, s in zip(batch.category.tolist(), batch.scene.tolist(), strict=True)]
        ids = self.tokenizer(captions, padding="max_length", max_length=CAPTION_LENGTH, return_tensors="pt").input_ids
        text = self.model.text_model(input_ids=ids).pooler_output
        codes = torch.from_numpy(batch.category * 100 + batch.scene)
        return sigmoid_loss(
            torch.nn.functional.normalize(pooled, dim=-1),
            torch.nn.functional.normalize(text, dim=-1),
            codes[:, None] == codes[None],
            self.model.logit_scale,
            self.model.logit_bias,
        )

    def keep(self, folder: Path, chunk: int) -> None:
        state = {
            "model": self.model.state_dict(),
            "readouts": self.readouts.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        with replacing(folder / f"chunk_{chunk}.pt") as private:
            torch.save(state, private)
        write_json(folder / "log.json", {"chunk": chunk, "log": self.log})
        for old in folder.glob("chunk_*.pt"):
            if old.name != f"chunk_{chunk}.pt":
                old.unlink()

    def restore(self, folder: Path) -> int:
        if not (folder / "log.json").exists():
            return 0
        kept = read_json(folder / "log.json")
        state = torch.load(folder / f"chunk_{kept['chunk']}.pt", map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.readouts.load_state_dict(state["readouts"])
        for optimizer, kept_state in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept_state)
        self.log = kept["log"]
        return int(kept["chunk"])

    def export(self, output: Path) -> None:
        output.mkdir(parents=True, exist_ok=True)
        size = {"height": self.settings.size_px, "width": self.settings.size_px}
        self.model.half().save_pretrained(output, safe_serialization=True)
        SiglipImageProcessor(size=size).save_pretrained(output)
        self.tokenizer.save_pretrained(output)
        write_text(output / "log.jsonl", "".join(json.dumps(row) + "\n" for row in self.log))
        write_json(output / "pretraining.json", self.settings.given)


def _build_optimizers(
    model: SiglipModel, readouts: DenseReadouts, settings: Pretraining
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the vision trunk, which learns faster so; AdamW for everything else."""
    matrices = [p for p in model.vision_model.encoder.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in [*model.parameters(), *readouts.parameters()] if id(p) not in chosen]
    decay = settings.weight_decay
    return [
        torch.optim.Muon(matrices, lr=settings.muon_learning_rate, weight_decay=decay),
        torch.optim.AdamW(others, lr=settings.learning_rate, weight_decay=decay, betas=(0.9, 0.98), fused=True),
    ]


def _model_config(settings: Pretraining, vocabulary: int) -> SiglipConfig:
    width = settings.width
    shared = {"hidden_size": width, "num_attention_heads": settings.heads, "intermediate_size": 4 * width}
    return SiglipConfig(
        text_config={
            **shared,
            "num_hidden_layers": 1,
            "vocab_size": vocabulary,
            "max_position_embeddings": CAPTION_LENGTH,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "bos_token_id": 1,
        },
        vision_config={
            **shared,
            "num_hidden_layers": settings.layers,
            "image_size": settings.size_px,
            "patch_size": settings.patch_px,
        },
    )


def _schedule(step: int, warmup: int, total: int) -> float:
    return min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * min(1.0, step / total))) + 1e-3)


def context_weight(step: int, settings: Pretraining) -> float:
    """Weight of `context_share` at a step: 0, then rising linearly to its full weight.

    From the first step on it would win over all other losses: tokens that are all the same agree best.
    """
    first, last = (fraction * settings.steps for fraction in settings.context_rise)
    share = min(1.0, max(0.0, (step - first) / (last - first)))
    return settings.weights.context * share


def _draw_hidden(shape: torch.Size, settings: Pretraining, rng: np.random.Generator) -> Tensor:
    n, patches = shape
    masked = rng.random(n) < settings.masked_images
    return torch.from_numpy((rng.random((n, patches)) < settings.masked_patches) & masked[:, None])


def _keep_patches(share: Tensor, step: int, settings: Pretraining, rng: np.random.Generator) -> Tensor:
    """Positions of the patches that this step encodes [n, kept]: those on the object first, then some of the scene.

    Most of the time goes into scene patches that teach little; the last steps see every patch, as the readers will.
    """
    n, patches = share.shape
    share, n = share[: n // 2], n // 2
    count = patches if step >= settings.steps - settings.full_steps else settings.kept_patches
    order = (share > 0.05).float() + torch.from_numpy(rng.random((n, patches))).float()
    # Both pictures of an object keep the same patches, so that their tokens can be compared.
    return order.topk(count, dim=1).indices.sort(dim=1).values.repeat(2, 1)


def _gather(values: Tensor, kept: Tensor) -> Tensor:
    return values.gather(1, kept[..., None].expand(-1, -1, values.shape[-1]))


def _patchify(images: Tensor, patch: int) -> Tensor:
    n, channels, height, width = images.shape
    grid = images.reshape(n, channels, height // patch, patch, width // patch, patch)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(n, -1, channels * patch * patch)


def _unpatchify(patches: Tensor, patch: int) -> Tensor:
    n, count, _ = patches.shape
    side = math.isqrt(count)
    grid = patches.reshape(n, side, side, 3, patch, patch)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(n, 3, side * patch, side * patch)
