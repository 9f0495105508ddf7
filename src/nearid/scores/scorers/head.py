"""A trained pooling head on the cached tokens of its frozen backbone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from nearid.config.settings.scores import ForeignHead, TrainedHead
from nearid.errors import UserError
from nearid.heads.finished import folder_of
from nearid.io.hashing import hash_file, hash_json
from nearid.io.model_folders import built_within, read_config, refuse_unreadable
from nearid.scores.embeddings import TokenEmbedder

if TYPE_CHECKING:
    # Imported only to read a head: a job whose scores are there already ends without loading PyTorch.
    from torch import Tensor

    from nearid.config.settings.scores import Score
    from nearid.heads.map_head import MAPHead
    from nearid.layout import Layout

KEPT = "timelapse.safetensors"


class Scorer(TokenEmbedder):
    """Pools tokens by the head of `ablation`, or by the one in the folder `path` (trained elsewhere).

    With `step` it is the head that the training of `ablation` kept after that step, instead of the last.
    """

    def __init__(self, settings: Score, layout: Layout) -> None:
        super().__init__(settings, layout)
        scorer = settings.scorer
        assert isinstance(scorer, TrainedHead | ForeignHead)
        self.folder = folder_of(layout, scorer.ablation) if isinstance(scorer, TrainedHead) else Path(scorer.path)
        self._step = scorer.step if isinstance(scorer, TrainedHead) else None

    def fingerprint(self, collections: Sequence[str], shards: Sequence[str]) -> str:
        """Hash of what the tokens depend on and of the head's files."""
        weights = _weights_of(self.folder) if self._step is None else self.folder / KEPT
        files = (self.folder / "config.json", weights)
        if not all(path.is_file() for path in files):
            assert self._head  # loading it raises the error that says what is wrong
        step = [] if self._step is None else [self._step]
        try:
            own = [hash_file(path) for path in files]
        except FileNotFoundError as error:  # a download has put other files there since `_weights_of` looked
            name = Path(error.filename).name
            raise UserError(self.folder, f"no {name} when it was looked for", "a head", "score again") from error
        return hash_json([super().fingerprint(collections, shards), *own, *step])

    def read_out(self, tokens: Tensor) -> Tensor:
        """Embeddings `[batch, dim]`."""
        dim = self._head.probe.shape[-1]
        if tokens.shape[-1] != dim:
            raise UserError(
                self.folder,
                f"a head for {dim}-dimensional tokens",
                f"{tokens.shape[-1]} dimensions, as the tokens of {self.settings.backbone_id}",
                "score with the tokens of the backbone that the head was trained on",
            )
        return self._head(tokens)

    @cached_property
    def _head(self) -> MAPHead:
        return load_head(self.folder, self._step).to(self.device)


def load_head(folder: Path, step: int | None = None) -> MAPHead:
    """The head that `train_head` wrote to `folder`, or that of an exported model or of the authors' release.

    Args:
        folder: of the head.
        step: load the head that was kept after this step, instead of the last.

    Raises:
        UserError: a file is missing or truncated, or the weights are not those of the configured head.
    """
    from safetensors.torch import load_file
    from transformers import SiglipVisionConfig

    from nearid.heads.map_head import MAPHead
    from nearid.heads.released import read_vision_state, vision_config_of

    remedy = "train the head again (`train_head`), or correct the path"
    try:
        config = read_config(folder / "config.json")
        with built_within(folder):
            head = MAPHead(SiglipVisionConfig.from_dict(dict(vision_config_of(config))))
        if step is not None:
            head.load_state_dict(_read_kept(folder / KEPT, step))
        else:
            weights = _weights_of(folder)
            own = weights.name == "head.safetensors"
            head.load_state_dict(load_file(weights) if own else read_vision_state(weights, "head."))
    except FileNotFoundError as error:
        raise UserError(folder, f"no {Path(error.filename or 'head.safetensors').name}", "a head", remedy) from error
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        refuse_unreadable(folder, error)
        raise UserError(folder, f"no readable head ({error})", "config.json and head.safetensors", remedy) from error
    return head.eval().requires_grad_(False)


def _read_kept(path: Path, step: int) -> dict[str, Tensor]:
    """The state dict of one of the heads that a training kept."""
    from safetensors.torch import load_file

    kept = load_file(path)
    state = {key.partition(".")[2]: tensor for key, tensor in kept.items() if key.startswith(f"step_{step:06d}.")}
    if not state:
        steps = sorted({int(key.partition(".")[0].removeprefix("step_")) for key in kept})
        raise UserError(
            path,
            f"no head of step {step}",
            f"one of the kept steps {', '.join(map(str, steps))}",
            "correct `step` of the scorer, or `training.keep_every_steps` of its ablation",
        )
    return state


def _weights_of(folder: Path) -> Path:
    head, model = folder / "head.safetensors", folder / "model.safetensors"
    return model if model.is_file() and not head.is_file() else head
