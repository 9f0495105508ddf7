"""A model as a library: from images to identity embeddings and similarities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional
from transformers import AutoImageProcessor, SiglipVisionConfig, SiglipVisionModel
from transformers.utils import cached_file

from nearid.config.settings.tokens import BackboneSettings
from nearid.distributed.devices import choose_device
from nearid.errors import UserError
from nearid.heads.released import read_vision_state, vision_config_of
from nearid.io.images import one_large_picture, prepare_picture
from nearid.io.model_folders import built_within, load_pretrained, read_config, refuse_unreadable
from nearid.release.pictures import open_picture
from nearid.scores.scorers.head import load_head
from nearid.tokens.backbones import load_backbone

FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_SIGLIP = ("siglip", "siglip_vision_model")
_REPOSITORY = Path(__file__).resolve().parents[3]


class IdentityModel:
    """Embeds images as unit vectors whose dot product says how alike two *identities* are.

    Args:
        network: maps pixels `[batch, 3, h, w]` to embeddings `[batch, dim]` of any length.
        processor: maps images to these pixels.
        batch_size: images that are embedded together.
        device: where the network is.
    """

    def __init__(self, network: Any, processor: Any, batch_size: int = 32, device: str | None = None) -> None:
        self.network, self.processor, self.batch_size = network, processor, batch_size
        self.device = torch.device(device) if device else choose_device()

    @torch.inference_mode()
    def embed(self, images: Any) -> NDArray[np.float32]:
        """Unit vectors `[images, dim]` of one image or of any number (see `nearid.release.pictures.open_picture`).

        Images are opened one after the other, so that many or large ones are never in memory together.

        Raises:
            UserError: an image cannot be read.
        """
        waiting = iter([images] if _is_one(images) else images)
        batches = []
        while batch := [self.prepare(image) for image in islice(waiting, self.batch_size)]:
            batches.append(self.embed_prepared(batch))
        return np.concatenate(batches) if batches else np.empty((0, 0), np.float32)

    def prepare(self, image: Any) -> Tensor:
        """The network's input `[1, 3, h, w]` for one image; may run in any thread.

        Raises:
            UserError: it cannot be read, or the model's image processor does not accept it.
        """
        with one_large_picture(image):
            pixels: Tensor = prepare_picture(self.processor, open_picture(image), input_data_format="channels_last")
        return pixels

    @torch.inference_mode()
    def embed_prepared(self, pixels: Sequence[Tensor]) -> NDArray[np.float32]:
        """Unit vectors `[images, dim]` of prepared images, as one batch.

        Raises:
            UserError: the model does not accept images of this size, or gives no finite numbers for one of them.
        """
        # A processor that does not crop keeps the sizes of images, and different sizes make no batch.
        same = len({tuple(image.shape[1:]) for image in pixels}) == 1
        batches = [torch.cat(list(pixels))] if same else list(pixels)
        try:
            embedded = torch.cat([self.network(batch.to(self.device)).float() for batch in batches])
        except (ValueError, RuntimeError) as error:
            # Errors of transformers and torch about a size that the model does not accept; not about a full GPU.
            if isinstance(error, RuntimeError) and "must match" not in str(error):
                raise
            sizes = sorted({f"{image.shape[3]} x {image.shape[2]}" for image in pixels})
            raise UserError(
                "the model",
                f"its image processor gives {', '.join(sizes[:3])} px ({str(error).strip().splitlines()[0]})",
                "images of the size that the model takes",
                "set `size` and `do_center_crop` in its preprocessor_config.json",
            ) from error
        if not embedded.isfinite().all():
            raise UserError(
                "the model",
                "no finite numbers for this picture",
                "a vector of numbers: weights that are not damaged",
                "take the model anew (`nearid export`)",
            )
        return functional.normalize(embedded, dim=-1).cpu().numpy()

    def similarity(self, first: Any, second: Any) -> float | NDArray[np.float32]:
        """Cosine of two images, or the cosines `[len(first), len(second)]` of two lists of them."""
        cosines: NDArray[np.float32] = self.embed(first) @ self.embed(second).T
        return float(cosines[0, 0]) if _is_one(first) and _is_one(second) else cosines


def load(
    path_or_id: str | Path, revision: str | None = None, batch_size: int = 32, device: str | None = None
) -> IdentityModel:
    """A model from a folder or from the hub.

    Takes a folder that `nearid export` wrote (either layout), the authors' release, the folder of a trained head
    (`results/demo/heads/nearid`), or any vision model of transformers. Weights are safetensors, never pickles, and no
    code of a repository is run. Embeddings are computed in float32.

    Args:
        path_or_id: a folder, or a hub id; it is fetched unless HF_HUB_OFFLINE is set.
        revision: of a hub id.
        batch_size: images that are embedded together.
        device: `cpu`, `cuda`, ...; by default a GPU where there is one.

    Raises:
        UserError: no such model, or it cannot be used.
    """
    try:
        folder = Path(path_or_id) if Path(path_or_id).exists() else _fetch(str(path_or_id), revision)
        network, processor = _open(folder)
    except PermissionError as error:
        refuse_unreadable(path_or_id, error)
        raise
    model = IdentityModel(network, processor, batch_size, device)
    if isinstance(network, torch.nn.Module):
        network.to(model.device)
    return model


class VisionNetwork(torch.nn.Module):
    """A SigLIP vision model as a function from pixels to its pooled output."""

    def __init__(self, model: SiglipVisionModel) -> None:
        super().__init__()
        self.model = model.float().eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embeddings `[batch, dim]` of pixels `[batch, 3, size, size]`."""
        return self.model(pixel_values=pixels).pooler_output


def open_backbone(settings: BackboneSettings) -> Any:
    """The backbone of a run's settings; a relative path is also looked for in the repository."""
    inside = _REPOSITORY / settings.path
    if not Path(settings.path).exists() and inside.exists():
        settings = BackboneSettings.parse({**settings.given, "path": str(inside)})
    return load_backbone(settings)


def attach_head(folder: Path) -> tuple[SiglipVisionModel, Any]:
    """The backbone of the trained head in `folder` (`heads/<ablation>`), with that head instead of its own, in float32.

    Returns:
        The vision model and its image processor.
    """
    try:
        given = dict(read_config(folder / "config.json")["settings"]["backbone"])
    except (KeyError, TypeError, ValueError) as error:
        raise _refuse(folder, "config.json names no backbone") from error
    settings = BackboneSettings.parse(given | {"precision": "float32"}, f"{folder / 'config.json'}, settings.backbone")
    backbone = open_backbone(settings)
    state = load_head(folder).state_dict()
    try:
        backbone.model.head.load_state_dict(state)
    except (AttributeError, RuntimeError) as error:
        raise _refuse(folder, f"a head that {settings.path} does not take") from error
    return backbone.model, backbone.processor


def _open(folder: Path) -> tuple[Any, Any]:
    """Network and processor of a model folder."""
    if not (folder / "config.json").is_file():
        raise _refuse(folder, "no config.json")
    config = read_config(folder / "config.json")
    if (folder / "head.safetensors").is_file():
        model, processor = attach_head(folder)
        return VisionNetwork(model), processor
    _refuse_pickles(folder)
    kind = config.get("model_type", "")
    if kind == "nearid":
        return VisionNetwork(_read_release(folder, config)), _read_processor(folder)
    own = "siglip" if kind in _SIGLIP else "auto"
    settings = BackboneSettings(kind=own, path=str(folder), revision="", precision="float32", batch_size=1)
    backbone: Any = load_backbone(settings)
    if kind in _SIGLIP:
        return VisionNetwork(backbone.model), backbone.processor
    return (lambda pixels: backbone.pooled(backbone.encode(pixels))), backbone.processor


def _read_release(folder: Path, config: dict[str, Any]) -> SiglipVisionModel:
    try:
        with built_within(folder):
            model = SiglipVisionModel(SiglipVisionConfig(**vision_config_of(config)))
        model.load_state_dict(read_vision_state(folder / "model.safetensors"))
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        refuse_unreadable(folder, error)
        raise _refuse(folder, f"no weights to load ({str(error).splitlines()[0]})") from error
    return model


def _read_processor(folder: Path) -> Any:
    try:
        return load_pretrained(AutoImageProcessor, folder, backend="pil", local_files_only=True)
    except (OSError, ValueError) as error:
        refuse_unreadable(folder, error)
        raise _refuse(folder, f"no image processor ({str(error).splitlines()[0]})") from error


def _refuse_pickles(folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickles:
        raise UserError(
            folder,
            f"weights as a pickle alone ({pickles[0]})",
            "safetensors: opening a pickle runs whatever code is in it",
            "ask for safetensors, or convert it yourself if you trust its author",
        )
    raise _refuse(folder, "no weights")


def _fetch(name: str, revision: str | None) -> Path:
    try:
        paths = [cached_file(name, file, revision=revision) for file in FILES]
    except (OSError, ValueError) as error:
        raise UserError(
            name,
            f"neither a folder nor a model that can be fetched ({str(error).splitlines()[0]})",
            "either",
            "check the name",
        ) from error
    return Path(str(paths[0])).parent


def _refuse(folder: Path, found: str) -> UserError:
    return UserError(folder, found, ", ".join(FILES), "export the model again, or check the path")


def _is_one(images: Any) -> bool:
    return not isinstance(images, (Sequence, Iterable)) or isinstance(images, (str, bytes)) or _is_array(images)


def _is_array(images: Any) -> bool:
    # A stack of images [n, ...] is many, a single image [h, w, 3] is one; a PIL image is no iterable.
    return getattr(images, "ndim", 4) == 3
