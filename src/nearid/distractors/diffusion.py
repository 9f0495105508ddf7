"""What engines on diffusers' pipelines share: loading in two phases, working sizes, seeds, batches of a fixed size."""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import diffusers
import numpy as np
import torch
import transformers
from huggingface_hub import snapshot_download
from PIL import Image

from nearid.config.schema.sources import Diffusion, Options
from nearid.distractors.protocol import BaseEngine, Frame, PaintError, Prompt, Target
from nearid.distributed.devices import choose_device
from nearid.errors import UserError
from nearid.io.model_folders import load_pretrained

if TYPE_CHECKING:
    from nearid.config.settings.data import AnyDataset
    from nearid.config.settings.distractors import Source
    from nearid.distractors.pool import Pool

_SCHEDULERS = {
    "euler": "EulerDiscreteScheduler",
    "flow_match_euler": "FlowMatchEulerDiscreteScheduler",
    "unipc": "UniPCMultistepScheduler",
}
# These would fill the logs: progress bars, a warning per image about components kept in float32 (SDXL's VAE), and a
# warning of transformers, caused by diffusers' imports, that torchvision (which we do without) is missing.
for _library in (diffusers, transformers):
    _library.utils.logging.set_verbosity_error()
    _library.utils.logging.disable_progress_bar()


@dataclass(frozen=True)
class InpaintingBatch:
    """The inputs of one pipeline call, all of the same size.

    Attributes:
        images: views at the working size.
        holes: white is repainted.
        height, width: working size.
        generators: one per image, on the CPU, so that its noise depends neither on its batch nor on the GPU.
        prompts: embeddings, one dict per image.
    """

    images: list[Image.Image]
    holes: list[Image.Image]
    height: int
    width: int
    generators: list[torch.Generator]
    prompts: list[Prompt]

    def embeddings(self, name: str, like: torch.nn.Module) -> torch.Tensor:
        """The embeddings `name` of all images, stacked, with the device and dtype of `like`."""
        reference = next(like.parameters())
        return torch.stack([prompt[name] for prompt in self.prompts]).to(reference.device, reference.dtype)


class DiffusionEngine(BaseEngine, ABC):
    """Base class of these engines; a subclass names its pipeline and options, and defines how the pipeline is called.

    Attributes:
        options: those of the source; a subclass names their class.
        pipeline: name of its class in diffusers.
        encoders: components that only `embed` needs; `painters`: those that only `call` needs.
        required: options that must be given, besides those that all engines need.
        multiple: working sizes are multiples of this many pixels.
        schedule: values that replace those of the pipeline's configuration for a scheduler set by the options.
        compiled_on: device types on which the option `compile` applies; on a CPU it would cost a rehearsal minutes.
        short_side: whether `working_px` is the short side of the working size (else the long one).

    Raises:
        UserError: an option is missing, or `working_px` is not divisible by `multiple`.
    """

    options: Diffusion
    own_options: ClassVar[type[Options]] = Diffusion
    reads_prompts: ClassVar[bool] = True
    pipeline: ClassVar[str]
    encoders: ClassVar[tuple[str, ...]]
    painters: ClassVar[tuple[str, ...]]
    required: ClassVar[set[str]] = set()
    multiple: ClassVar[int]
    short_side: ClassVar[bool] = False
    compiled_on: ClassVar[tuple[str, ...]] = ("cuda",)
    schedule: ClassVar[dict[str, Any]] = {}

    def __init__(self, source: Source[Any], dataset: AnyDataset, seed: int, pool: Pool) -> None:
        del dataset, seed, pool
        self.options = source.options
        needed = sorted({"model", "steps", "guidance", *self.required})
        if missing := [name for name in needed if getattr(self.options, name) is None]:
            raise UserError(
                f"options of a source with engine {source.engine}",
                f"no {', '.join(missing)}",
                "all of them",
                "add them",
            )
        self._working_px = source.working_px
        if self._working_px % self.multiple:
            raise UserError(
                f"working_px of a source with engine {source.engine}",
                str(self._working_px),
                f"a multiple of {self.multiple}: the pipeline would round it silently",
                f"write {round(self._working_px / self.multiple) * self.multiple}",
            )
        self.batch_size = self.options.batch_size or 1
        self.device = choose_device()
        self.dtype: torch.dtype = getattr(torch, self.options.precision or "bfloat16")
        self._painter: Any = None

    @abstractmethod
    def embed(self, pipe: Any, text: str) -> Prompt:
        """The embeddings of one text from the encoders of `pipe`, without a batch axis."""

    @abstractmethod
    def call(self, pipe: Any, batch: InpaintingBatch) -> Any:
        """The pipeline's output: `images` `[n, h, w, 3]` in 0 to 1, maybe `nsfw_content_detected` (safety checker)."""

    def load(self, without: Iterable[str]) -> Any:
        """The pipeline with all components except those in `without`."""
        return self.open(self.options.model, **dict.fromkeys(without))

    def open(self, model: str, **components: Any) -> Any:
        """The pipeline `model` on the device, with the scheduler of the options and `components` instead of its own."""
        pipe = load(getattr(diffusers, self.pipeline), model, self.dtype, **components)
        pipe.set_progress_bar_config(disable=True)
        if self.options.scheduler:
            scheduler = getattr(diffusers, _SCHEDULERS[self.options.scheduler])
            pipe.scheduler = scheduler.from_config({**pipe.scheduler.config, **self.schedule})
        offload = self.options.offload or "none"
        if offload == "none" or self.device.type == "cpu":
            return pipe.to(self.device)
        return offload_parts(pipe, offload, self.device)

    @torch.inference_mode()
    def encode(self, texts: Iterable[str]) -> Iterator[Prompt]:
        """See `nearid.distractors.protocol.BaseEngine`; one at a time, so that no embedding depends on other texts."""
        pipe = self.load(without=self.painters)
        for text in texts:
            yield {name: tensor.cpu() for name, tensor in self.embed(pipe, text).items()}
        del pipe
        gc.collect()
        torch.cuda.empty_cache()

    @torch.inference_mode()
    def paint_batch(self, targets: Sequence[Target], seeds: Sequence[int], prompts: Sequence[Prompt]) -> list[Frame]:
        """See `nearid.distractors.protocol.BaseEngine`.

        Every call of the pipeline gets `batch_size` images, with the last one repeated if there are fewer, since
        rounding depends on the batch size.
        """
        self._painter = self._painter or self._tune(self.load(without=self.encoders))
        frames: dict[int, Frame] = {}
        sizes = [self._choose_size(target) for target in targets]
        for size in dict.fromkeys(sizes):
            members = [at for at in range(len(targets)) if sizes[at] == size]
            padded = members + [members[-1]] * (self.batch_size - len(members))
            batch = InpaintingBatch(
                images=[_resize(Image.fromarray(targets[at].image), size, Image.Resampling.LANCZOS) for at in padded],
                holes=[self._draw_hole(targets[at], size) for at in padded],
                height=size[1],
                width=size[0],
                generators=[torch.Generator("cpu").manual_seed(seeds[at]) for at in padded],
                prompts=[prompts[at] for at in padded],
            )
            output = self.call(self._painter, batch)
            unsafe = getattr(output, "nsfw_content_detected", None) or [False] * len(padded)
            for at, image, hit in zip(members, output.images, unsafe, strict=False):
                # Rounded as diffusers rounds for PIL; NaN stays NaN, so that the runner sees it.
                frames[at] = PaintError("the safety checker refused the frame") if hit else np.rint(image * 255)
        return [frames[at] for at in range(len(targets))]

    def _tune(self, pipe: Any) -> Any:
        """Set memory layout, attention backend and compilation of `pipe` for speed."""
        core = getattr(pipe, "transformer", None) or pipe.unet
        if self.device.type == "cuda":
            put_channels_last(pipe)
        if self.options.attention is not None:
            try:
                core.set_attention_backend(self.options.attention)
            except (ValueError, RuntimeError, ImportError) as error:
                raise UserError(
                    "option attention of a source",
                    f"{self.options.attention!r}: {str(error).splitlines()[0]}",
                    "a back end of diffusers that is installed here",
                    "name another, or leave it out",
                ) from error
        whole = (self.options.offload or "none") == "none"
        if self.options.compile and whole and self.device.type in self.compiled_on:
            # Each kind of repeated block is compiled once, which takes seconds instead of minutes. On a node without a
            # compiler the engine paints uncompiled, and the log says so.
            torch._dynamo.config.suppress_errors = True
            core.compile_repeated_blocks()
        return pipe

    def _choose_size(self, target: Target) -> tuple[int, int]:
        height, width = target.mask.shape
        factor = self._working_px / (min if self.short_side else max)(height, width)
        return tuple(max(1, round(side * factor / self.multiple)) * self.multiple for side in (width, height))  # type: ignore[return-value]

    def _draw_hole(self, target: Target, size: tuple[int, int]) -> Image.Image:
        hole = Image.fromarray(target.hole.astype(np.uint8) * 255)
        return _resize(hole, size, Image.Resampling.NEAREST)


def offload_parts(pipe: Any, how: str, device: torch.device) -> Any:
    """Keep what `pipe` does not use at the moment in host memory, for a GPU that is too small for all of it.

    Args:
        pipe: on the CPU.
        how: `model`: move whole components; `group`: move the transformer or UNet layer by layer.
        device: where they compute.
    """
    if how == "model":
        pipe.enable_model_cpu_offload(device=device)
        return pipe
    core = getattr(pipe, "transformer", None) or pipe.unet
    for part in pipe.components.values():
        if part is core:
            # A second stream copies the next layer while one computes; a CPU has none.
            core.enable_group_offload(device, offload_type="leaf_level", use_stream=device.type == "cuda")
        elif isinstance(part, torch.nn.Module):
            part.to(device)
    return pipe


def put_channels_last(pipe: Any) -> None:
    """Store the weights of a pipeline's convolutions channels-last, so that tensor cores need no reordering."""
    for name in ("unet", "brushnet", "vae"):
        part = getattr(pipe, name, None)
        # Qwen's VAE has 3D convolutions, for which this format does not exist.
        if part is not None and all(weight.dim() <= 4 for weight in part.parameters()):
            part.to(memory_format=torch.channels_last)


def load(loader: Any, model: str, dtype: torch.dtype | None, **arguments: Any) -> Any:
    """What `loader.from_pretrained` returns for a folder or hub id.

    Raises:
        UserError: the folder is missing, or lacks what the class needs.
    """
    try:
        return load_pretrained(loader, model, **({"dtype": dtype} if dtype else {}), **arguments)
    except (OSError, ValueError, TypeError) as error:
        found = (
            str(error).splitlines()[0] if Path(model).is_dir() else "no such folder, nor a cached repository of the hub"
        )
        raise UserError(
            model,
            found,
            f"what {loader.__name__} needs",
            "fetch the model (`downloads` in the config), or correct the path",
        ) from error


def find_folder(model: str) -> Path:
    """The local folder of a model: `model` itself, or that of a hub id in the local cache.

    Raises:
        UserError: neither exists.
    """
    if Path(model).is_dir():
        return Path(model)
    try:
        return Path(snapshot_download(model))
    except (OSError, ValueError) as error:
        raise UserError(
            model, "no such folder, nor a cached repository of the hub", "a model", "fetch it, or correct the path"
        ) from error


def _resize(image: Image.Image, size: tuple[int, int], how: Image.Resampling) -> Image.Image:
    return image if image.size == size else image.resize(size, how)
