"""Sources of distractors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from nearid.config.schema.base import ConfigBlock, Id, Ids, Number, Probability, Unique, absent, block


class Options(ConfigBlock):
    """Settings of an engine."""


class Diffusion(Options):
    """Options that the engines of diffusers have in common."""

    model: str = absent()
    """Diffusion pipeline: a folder, or an id of the hub in its cache."""
    precision: Literal["float32", "float16", "bfloat16"] = absent()
    """Number format of the pipeline; bfloat16 when it is missing."""
    batch_size: int = absent(ge=1)
    """Images per pipeline call; 1 when it is missing. Another size rounds differently."""
    steps: int = absent(ge=1)
    """Denoising steps."""
    guidance: Number = absent()
    """Guidance scale."""
    scheduler: Literal["euler", "flow_match_euler", "unipc"] = absent()
    """Noise schedule; the pipeline's own when it is missing."""
    compile: bool = absent()
    """Compile the blocks of the transformer or UNet: takes some seconds at the start of a job and is then faster
    on a GPU; sums round differently."""
    attention: str = absent()
    """Attention back end of a transformer, as diffusers names it; PyTorch's own when it is missing."""
    offload: Literal["none", "model", "group"] = absent()
    """For a GPU that is too small: parts (`model`) or layers (`group`, slower) of the pipeline are kept in the
    machine's memory until they are needed; none when missing."""


class FluxFill(Diffusion):
    """Options of `flux_fill`."""

    max_sequence_length: int = absent(ge=1)
    """Tokens of the prompt (FLUX); 512 when it is missing."""


class FluxCanny(FluxFill):
    """Options of `flux_canny`."""

    strength: Probability = absent()
    """How much of the hole is noise at the start."""
    canny: list[int] = absent(min_length=2, max_length=2)
    """Edge thresholds."""


class QwenControlnet(Diffusion):
    """Options of `qwen_controlnet`."""

    controlnet: str = absent()
    """ControlNet: a folder or a hub id."""
    lora: str = absent()
    """Weights of a low-rank adapter: a folder or a hub id."""
    lora_file: str = absent()
    """The adapter's file in `lora`."""
    conditioning_scale: Number = absent()
    """Weight of the ControlNet or BrushNet; 1 when it is missing."""
    negative_prompt: str = absent()
    """What not to paint."""


class SdxlInpaint(Diffusion):
    """Options of `sdxl_inpaint`."""

    strength: Probability = absent()
    """How much of the hole is noise at the start."""
    negative_prompt: str = absent()
    """What not to paint."""


class Powerpaint(Diffusion):
    """Options of `powerpaint`."""

    negative_prompt: str = absent()
    """What not to paint."""
    conditioning_scale: Number = absent()
    """Weight of the ControlNet or BrushNet; 1 when it is missing."""
    task: Literal["object", "shape", "context"] = absent()
    """The learned words of the prompt; `object` when it is missing."""
    fitting_degree: Probability = absent()
    """Share of the first of the task's two words (no effect on `object`)."""
    words: Literal["task", "prompt"] = absent()
    """What BrushNet reads: the `task` word alone (PowerPaint's public v2 code; the default), or the
    `prompt` too."""
    mask_pixel: Literal["corner", "centre"] = absent()
    """Which pixel of the hole a latent cell takes: the `corner` one (PyTorch's nearest, the public
    code; the default) or the `centre` one."""
    safety_checker: bool = absent()
    """`false` leaves the folder's safety checker out, as the public code does. By default it is on,
    and a refused frame is painted again."""


class Sibling(Options):
    """Options of `sibling`."""

    traits: int = absent(ge=1, le=3)
    """In how many of proportions, pattern and motif a sibling differs (all three when missing); which of them
    depends on the identity."""


class CutPaste(Options):
    """Options of `cut_paste`."""

    blend: Literal["feather", "seamless"] = absent()
    """How the other object is blended in."""


class Released(Options):
    """Options of `released`."""

    path: str = absent()
    """Folder of a released distractor set."""


class OwnOptions(Options):
    """Options of an engine of your own, which checks them itself."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, bool | int | float | str | list[int | float | str]]


class Source(ConfigBlock):
    """A source of distractors: an engine and its settings."""

    display: str
    """Name shown in tables."""
    groups: Ids = absent()
    """Groups that it belongs to; a group that `groups` lists has only the sources that are listed there."""
    engine: Id
    """Module in nearid.distractors.engines."""
    splits: Unique[Literal["train", "val", "test"]] = Field(default_factory=list)
    """Splits to paint for while no mix trains on it; empty means val and test."""
    seconds_per_image: Number = Field(0, ge=0)
    """Measured or expected; determines in how many jobs a shard is painted and how much time they request. 0: not
    known, one job."""
    working_px: int = Field(512, ge=16)
    """Side in pixels at which the engine works; its output is resized by Lanczos."""
    dilate_px: int = Field(0, ge=0)
    """The hole is the mask grown by this many pixels."""
    paste_back: bool = True
    """Outside the hole the distractor is the view itself."""
    feather_px: int = Field(0, ge=0)
    """Width of the soft seam, inside the hole."""
    blur_sigma: Number = Field(0.0, ge=0)
    """Gaussian blur of the painted part in pixels, a recognisable trace of the source."""
    options: Options = block(Options)
    """The engine's own settings: each engine has those that are listed with its name."""


class FluxFillSource(Source):
    """A source with the engine `flux_fill`."""

    engine: Literal["flux_fill"]
    options: FluxFill = block(FluxFill)


class FluxCannySource(Source):
    """A source with the engine `flux_canny`."""

    engine: Literal["flux_canny"]
    options: FluxCanny = block(FluxCanny)


class QwenControlnetSource(Source):
    """A source with the engine `qwen_controlnet`."""

    engine: Literal["qwen_controlnet"]
    options: QwenControlnet = block(QwenControlnet)


class SdxlInpaintSource(Source):
    """A source with the engine `sdxl_inpaint`."""

    engine: Literal["sdxl_inpaint"]
    options: SdxlInpaint = block(SdxlInpaint)


class PowerpaintSource(Source):
    """A source with the engine `powerpaint`."""

    engine: Literal["powerpaint"]
    options: Powerpaint = block(Powerpaint)


class SiblingSource(Source):
    """A source with the engine `sibling`."""

    engine: Literal["sibling"]
    options: Sibling = block(Sibling)


class CutPasteSource(Source):
    """A source with the engine `cut_paste`."""

    engine: Literal["cut_paste"]
    options: CutPaste = block(CutPaste)


class ReleasedSource(Source):
    """A source with the engine `released`."""

    engine: Literal["released"]
    options: Released = block(Released)


class OwnSource(Source):
    """A source with an engine of your own."""

    options: OwnOptions = block(OwnOptions)


_ENGINES = {
    "flux_fill",
    "flux_canny",
    "qwen_controlnet",
    "sdxl_inpaint",
    "powerpaint",
    "sibling",
    "cut_paste",
    "released",
}


def engine_of(source: Any) -> str:
    """The engine whose class checks a source; `own` if it is none of those above."""
    engine = source.get("engine") if isinstance(source, dict) else None
    return engine if isinstance(engine, str) and engine in _ENGINES else "own"


AnySource = Annotated[
    Annotated[FluxFillSource, Tag("flux_fill")]
    | Annotated[FluxCannySource, Tag("flux_canny")]
    | Annotated[QwenControlnetSource, Tag("qwen_controlnet")]
    | Annotated[SdxlInpaintSource, Tag("sdxl_inpaint")]
    | Annotated[PowerpaintSource, Tag("powerpaint")]
    | Annotated[SiblingSource, Tag("sibling")]
    | Annotated[CutPasteSource, Tag("cut_paste")]
    | Annotated[ReleasedSource, Tag("released")]
    | Annotated[OwnSource, Tag("own")],
    Discriminator(engine_of),
]
"""A source, checked with the options of its engine."""


class QualitySheet(ConfigBlock):
    """What the sheets of `snakemake quality_sheets` show for each selected source."""

    examples: int = Field(12, ge=0)
    """Views on the sheet."""
    size_px: int = Field(160, ge=16)
    """Side of each picture in pixels."""
