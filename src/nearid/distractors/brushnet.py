"""BrushNet (Ju et al. 2024), attached to a stock Stable Diffusion UNet by hooks.

A copy of the UNet that also sees the masked view computes a residual for each site of the UNet (`_sites_of`), through
zero-initialised convolutions; hooks add them there. The stock pipeline runs unchanged, with its own guidance, schedule,
generators and decoding. Facts and pitfalls: docs/generators.md 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch import nn

from nearid.errors import UserError

Residuals = list[torch.Tensor]


class BrushNet(nn.Module):
    """Computes the residuals of a UNet's sites from the noisy latents and the masked view.

    Args:
        config: of the UNet that it is attached to.
        condition_channels: additional input channels, for the masked view's latents and the mask.
    """

    def __init__(self, config: Mapping[str, Any], condition_channels: int = 5) -> None:
        super().__init__()
        # diffusers lists which values are defaults there, and would reset ours to these.
        own = {key: value for key, value in config.items() if key != "_use_default_values"}
        own["in_channels"] += condition_channels
        self.unet = UNet2DConditionModel.from_config(own)
        # Its own prediction is not used.
        self.unet.conv_norm_out, self.unet.conv_out = None, nn.Identity()
        self.zeros = nn.ModuleList(nn.Conv2d(width, width, 1) for width in site_widths(self.unet))
        for weight in self.zeros.parameters():
            nn.init.zeros_(weight)

    def forward(
        self, latents: torch.Tensor, condition: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor
    ) -> Residuals:
        """Residuals per site, `[batch, width, h, w]` each.

        Args:
            latents: `[batch, 4, h, w]`.
            condition: `[batch, 5, h, w]`.
            timestep: of the schedule.
            states: text embeddings `[batch, tokens, dim]`.
        """
        features: Residuals = [latents] * len(self.zeros)

        def keep(place: int, value: torch.Tensor) -> torch.Tensor:
            features[place] = value
            return value

        with _hooked(self.unet, keep):
            self.unet(torch.cat([latents, condition], dim=1), timestep, encoder_hidden_states=states)
        return [conv(feature) for conv, feature in zip(self.zeros, features, strict=True)]

    def released_keys(self) -> dict[str, str]:
        """Name of each weight in the released checkpoint -> its name here."""
        downs, ups = _site_counts(self.unet)
        return {_released_name(key, downs, ups): key for key in self.state_dict()}


def load_brushnet(path: Path, config: Mapping[str, Any]) -> BrushNet:
    """The BrushNet of a released checkpoint for a UNet with `config`.

    Raises:
        UserError: the file or a weight is missing, or a weight is unknown or of another shape.
    """
    if not path.is_file():
        raise UserError(path, "no such file", "the released BrushNet weights", "fetch the model, or correct the path")
    with torch.device("meta"):
        net = BrushNet(config)
    load_strictly(net, load_file(path), net.released_keys(), path)
    return net


def load_strictly(module: nn.Module, weights: Mapping[str, torch.Tensor], names: Mapping[str, str], path: Path) -> None:
    """Load `weights` into `module`; `names` maps each name in the file to that in the module.

    Raises:
        UserError: as `load_brushnet`.
    """
    shapes = {key: tensor.shape for key, tensor in module.state_dict().items()}
    problems = {
        "missing": sorted(set(names) - set(weights)),
        "unknown": sorted(set(weights) - set(names)),
        "of another shape": sorted(k for k in set(names) & set(weights) if weights[k].shape != shapes[names[k]]),
    }
    if any(problems.values()):
        found = "; ".join(
            f"{len(keys)} {what}: {', '.join(keys[:3])}{', …' if len(keys) > 3 else ''}"
            for what, keys in problems.items()
            if keys
        )
        raise UserError(path, found, f"exactly the {len(names)} weights of this model", "take the released file again")
    module.load_state_dict({names[key]: tensor for key, tensor in weights.items()}, strict=True, assign=True)


@contextmanager
def brushed(unet: Any, net: BrushNet, condition: torch.Tensor, states: torch.Tensor, scale: float) -> Iterator[None]:
    """While active, add the residuals of `net` in each call of `unet`.

    Args:
        unet: of a pipeline; with guidance its batch holds each image twice.
        net: computes the residuals.
        condition: `[n, 5, h, w]`, n images.
        states: text embeddings of `net`, `[n or 2n, tokens, dim]`, those of the negative prompt first.
        scale: factor of the residuals.
    """
    residuals: Residuals = []

    def prepare(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        latents, timestep = arguments
        repeated = condition.repeat(len(latents) // len(condition), 1, 1, 1)
        residuals[:] = net(latents, repeated, timestep, states[-len(latents) :])

    handle = unet.register_forward_pre_hook(prepare, with_kwargs=True)
    try:
        with _hooked(unet, lambda place, value: value + scale * residuals[place]):
            yield
    finally:
        handle.remove()


def site_widths(unet: Any) -> list[int]:
    """Channels of each site, in the order of the checkpoint."""
    widths = list(unet.config.block_out_channels)
    downs = [widths[0]] + [
        width for block, width in zip(unet.down_blocks, widths, strict=True) for _ in _sites_of(block)
    ]
    ups = [width for block, width in zip(unet.up_blocks, reversed(widths), strict=True) for _ in _sites_of(block)]
    return [*downs, widths[-1], *ups]


def _sites_of(block: Any) -> list[nn.Module]:
    """The layers of a block after which a residual is added."""
    layers = list(getattr(block, "attentions", None) or block.resnets)
    samplers = getattr(block, "downsamplers", None) or getattr(block, "upsamplers", None) or []
    return [*layers, *samplers]


def _site_counts(unet: Any) -> tuple[int, int]:
    downs, ups = ([len(_sites_of(block)) for block in blocks] for blocks in (unet.down_blocks, unet.up_blocks))
    return 1 + sum(downs), sum(ups)


@contextmanager
def _hooked(unet: Any, change: Any) -> Iterator[None]:
    """While active, `change(place, value)` replaces the features at each site of `unet`."""

    # Not the output of conv_in: that is also the first skip connection, which must stay unchanged.
    def at_entry(
        _: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return arguments, {**named, "hidden_states": change(0, named["hidden_states"])}

    def after(place: int) -> Any:
        def hook(_: nn.Module, arguments: Any, output: Any) -> Any:
            # Attention layers return a tuple of length one.
            return (change(place, output[0]), *output[1:]) if isinstance(output, tuple) else change(place, output)

        return hook

    blocks = [*unet.down_blocks, None, *unet.up_blocks]
    layers = [layer for block in blocks for layer in ([unet.mid_block] if block is None else _sites_of(block))]
    with ExitStack() as stack:
        handles = [unet.down_blocks[0].register_forward_pre_hook(at_entry, with_kwargs=True)]
        handles += [layer.register_forward_hook(after(place)) for place, layer in enumerate(layers, start=1)]
        for handle in handles:
            stack.callback(handle.remove)
        yield


def _released_name(key: str, downs: int, ups: int) -> str:
    room, _, rest = key.partition(".")
    if room == "unet":
        return rest.replace("conv_in.", "conv_in_condition.", 1) if rest.startswith("conv_in.") else rest
    number, _, kind = rest.partition(".")
    place = int(number)
    if place < downs:
        return f"brushnet_down_blocks.{place}.{kind}"
    return f"brushnet_mid_block.{kind}" if place == downs else f"brushnet_up_blocks.{place - downs - 1}.{kind}"
