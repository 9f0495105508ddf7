"""VSM: Mind-the-Glitch's model of semantic and visual correspondences, an external package (docs/protocol.md 4.5)."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Generator, Sequence
from contextlib import nullcontext
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from nearid.config.settings.scores import VSM
from nearid.distributed.devices import choose_device
from nearid.errors import UserError
from nearid.io.downloads import check_code
from nearid.io.file_lists import hash_models
from nearid.io.images import decode_grey, decode_rgb, decode_stored_mask
from nearid.io.offline import served_offline
from nearid.scores.answers import hash_pair
from nearid.scores.correspondences import match_share
from nearid.scores.scorers import Pair, ParsedAnswer, Shown
from nearid.tokens.collections import fit_mask

if TYPE_CHECKING:
    from nearid.config.settings.scores import Score
    from nearid.layout import Layout

SIZE_PX = 768
CONFIG, WEIGHTS = "experiment_cfg.yaml", "mtg_weights.safetensors"
NO_MASK = "no mask"
OWN_COLLECTIONS = ("positives", "mtg_train", "mtg_test")


class Scorer:
    """Scores a pair by the share of semantic matches between the two objects that also match visually (`vsm_0.6`).

    `distractor_masks: white` repeats the authors' run: a distractor counts with its whole image, since the released
    sets have no masks for distractors. `own` gives it the mask of the view that it replaces. Images are never
    blacked out: the masks say what is compared, so `full` and `fg` are the same pairs. MTG has masks on both sides.

    `masks: raw` weighs the features by the data set's grey masks, `mask_resize: bilinear` softens their edges: both as
    in the authors' run.

    The package is the authors' checkout in the folder `package`, with all that it needs installed; its weights,
    `mtg_weights.safetensors` and `experiment_cfg.yaml`, are in the folder `model`. `hub` maps the repositories that the
    checkout itself loads from the hub to local folders, so that it needs no network.

    Raises:
        UserError: package or weights are missing, or cannot be used.
    """

    batch_size = 16

    def __init__(self, settings: Score, layout: Layout) -> None:
        scorer = settings.scorer
        assert isinstance(scorer, VSM)
        self._where = f"scorers.{settings.scorer_id}"
        self._masks = scorer.distractor_masks or "white"
        self._raw = scorer.masks == "raw"
        self._resize = scorer.mask_resize or "nearest"
        self._package = Path(scorer.package)
        self._weights = Path(scorer.model)
        if not scorer.package or not (self._package / "mtg").is_dir():
            raise self._refuse(f"no package `mtg` in {self._package}", "the folder of a Mind-the-Glitch checkout")
        for name in (CONFIG, WEIGHTS):
            if not (self._weights / name).is_file():
                raise self._refuse(f"no {name} in {self._weights}", "the folder of its weights")
        self._hub = {name: Path(folder) for name, folder in (scorer.hub or {}).items()}
        for name, folder in self._hub.items():
            if not folder.is_dir():
                raise self._refuse(f"no folder {folder}", f"{name}, as it was fetched")
        self._identity = hash_models(self._package, self._weights, *self._hub.values())

    def key(self, pair: Pair) -> str:
        """Hash of images, masks, code and weights, and of which masks are used."""
        # Masks matter in both conditions, but the condition itself does not: equal pairs are matched once.
        white = [self._is_white(shown) for shown in pair]
        own = [name for name, on in (("raw", self._raw), (self._resize, self._resize != "nearest")) if on]
        return hash_pair(pair, True, "vsm", self._identity, white, *own)

    def answer(self, pairs: Sequence[Pair]) -> Generator[tuple[int, str], None, None]:
        """Positions in `pairs` and the share with the number of points, as JSON."""
        for position, pair in enumerate(pairs):
            sides = [self._prepare(shown) for shown in pair]
            if any(mask is None for _, mask in sides):
                yield position, NO_MASK
                continue
            (first, first_mask), (second, second_mask) = sides
            with torch.inference_mode():
                found = self._model.inference(
                    first,
                    second,
                    img1_obj_mask_p=first_mask,
                    img2_obj_mask_p=second_mask,
                    transform=_to_tensor,
                    return_correspondences=True,
                )
            targets, semantic, visual = (
                _to_array(found[name])
                for name in ("target_points_s", "matching_score_maps_max_s", "matching_score_maps_max_v")
            )
            share = match_share(targets, semantic, visual)
            yield position, json.dumps({"vsm": None if math.isnan(share) else share, "points": len(semantic)})

    def read(self, answer: str) -> ParsedAnswer:
        """The share; flags `no_mask` and `no_match`."""
        if answer == NO_MASK:
            return ParsedAnswer(math.nan, ("no_mask",))
        share = json.loads(answer)["vsm"]
        return ParsedAnswer(math.nan, ("no_match",)) if share is None else ParsedAnswer(share)

    def _is_white(self, shown: Shown) -> bool:
        return self._masks == "white" and shown.collection not in OWN_COLLECTIONS

    def _prepare(self, shown: Shown) -> tuple[Image.Image, Image.Image | None]:
        picture = shown.picture
        pixels = decode_rgb(picture.image, picture.where)
        image = Image.fromarray(pixels).resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)
        if self._is_white(shown):
            grey = Image.new("L", pixels.shape[1::-1], 255)
        elif picture.mask is None:
            return image, None
        elif self._raw:
            grey = Image.fromarray(decode_grey(picture.mask, f"{picture.where}, its mask"))
        else:
            mask = fit_mask(decode_stored_mask(picture.mask, f"{picture.where}, its mask"), pixels)
            grey = Image.fromarray(mask.astype(np.uint8) * 255)
        how = Image.Resampling.BILINEAR if self._resize == "bilinear" else Image.Resampling.NEAREST
        return image, grey.resize((SIZE_PX, SIZE_PX), how)

    @cached_property
    def _model(self) -> Any:
        device = choose_device()
        # This code will run: its files must be exactly those of the commit, with no other module among them.
        check_code(self._package)
        sys.path.insert(0, str(self._package))
        try:
            config = import_module("omegaconf").OmegaConf.load(self._weights / CONFIG)
            dataset = import_module("configs.config").load_dataset_generation_config("automated")
            # Without `hub` the checkout finds its models in the user's own cache, or not at all.
            with served_offline(self._hub) if self._hub else nullcontext():
                manager = import_module("mtg.utils.aux_models_manager").ModelManager(
                    device, dataset, load_cleandift=True, load_groundingsam=False
                )
            build = getattr(import_module("mtg.models"), config.model.name)
            model = build(manager.cleandift_model, config, device, getattr(torch, config.dtype, torch.float32))
            model.load_state_dict(load_file(self._weights / WEIGHTS))
        # AssertionError: the authors' loader needs CUDA, which this PyTorch does not have.
        except (ImportError, AttributeError, AssertionError, OSError, RuntimeError, KeyError) as error:
            raise self._refuse(
                f"a package that cannot be used ({type(error).__name__}: {error})",
                "the authors' checkout with its requirements installed",
            ) from error
        finally:
            sys.path.remove(str(self._package))
        return model.to(device).eval()

    def _refuse(self, found: str, expected: str) -> UserError:
        return UserError(
            self._where, found, expected, "fetch the package and its weights, and correct `package` and `model`"
        )


def _to_tensor(image: Image.Image) -> torch.Tensor:
    # [channels, height, width] in [0, 1], of images and of masks, as torchvision's ToTensor gives it.
    values = np.asarray(image, np.float32) / 255
    return torch.from_numpy(values[None] if values.ndim == 2 else np.ascontiguousarray(values.transpose(2, 0, 1)))


def _to_array(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    return (values.detach().float().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)).astype(
        np.float64
    )
