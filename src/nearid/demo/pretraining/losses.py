"""What the backbone is trained on: captions for the pooled output, dense losses for the patch tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nearid.demo.pretraining.stream import N_TRAITS
from nearid.demo.pretraining.targets import N_STATISTICS
from nearid.demo.renderer.instances import CATEGORY_NAMES, MOTIF_NAMES, PATTERN_NAMES
from nearid.demo.renderer.scenes import SCENE_NAMES


def sigmoid_loss(image: Tensor, text: Tensor, same: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """SigLIP's pairwise loss; image and text unit vectors [n, d], `same` [n, n] says which captions fit."""
    logits = image @ text.T * scale.exp() + bias
    return -functional.logsigmoid(torch.where(same, logits, -logits)).sum() / len(image)


def context_share(first: Tensor, second: Tensor) -> Tensor:
    """Self-distillation between two pictures of one object: the share of its tokens' variance that the scene makes.

    Args:
        first, second: tokens [k, d] of the same patches of the same objects before different scenes.

    Returns:
        0 where the scene changes nothing, 1 where the two have nothing in common.
    """
    variance = torch.cat([first, second]).detach().var(dim=0).clamp_min(1e-6)
    return ((first - second).square().mean(0) / (2 * variance)).mean()


class DenseReadouts(nn.Module):
    """Linear read-outs of single patch tokens; thrown away after pretraining.

    An object's patches each say the words of its description (kind, pattern, motif, and numbers for colours and
    proportions), a scene's patches say the scene, and every patch its own pixels, how much of it is object, and the
    colours and edges around it. The tokens of an object before two scenes shall agree (see `context_share`).
    """

    def __init__(self, width: int, patch_px: int) -> None:
        super().__init__()
        self.sizes = [len(CATEGORY_NAMES), len(PATTERN_NAMES), len(MOTIF_NAMES), N_TRAITS]
        self.words = nn.Linear(width, sum(self.sizes))
        self.scene = nn.Linear(width, len(SCENE_NAMES))
        self.share = nn.Linear(width, 1)
        self.pixels = nn.Linear(width, 3 * patch_px**2)
        self.surroundings = nn.Linear(width, N_STATISTICS)

    def forward(
        self,
        tokens: Tensor,
        share: Tensor,
        category: Tensor,
        pattern: Tensor,
        motif: Tensor,
        traits: Tensor,
        scene: Tensor,
        pixels: Tensor,
        surroundings: Tensor,
        hidden: Tensor,
    ) -> dict[str, Tensor]:
        """The parts of the dense loss.

        Args:
            tokens: [n, t, d], the two halves as `compose_batch` pairs them. share: part of each patch that is object
                [n, t]. category, pattern, motif, scene: [n].
            traits: [n, 23]. pixels: normalised pixels of each patch [n, t, 3 p^2].
            surroundings: see `describe_surroundings` [n, t, s]. hidden: patches that were masked [n, t].
        """
        row, patch = torch.nonzero(share > 0.5, as_tuple=True)
        first, second = tokens.chunk(2)
        compared = (share.chunk(2)[0] > 0.5) & ~hidden.chunk(2)[0] & ~hidden.chunk(2)[1]
        words = self.words(tokens[row, patch]).split(self.sizes, dim=1)
        behind, place = torch.nonzero((share < 0.05) & (scene < len(SCENE_NAMES))[:, None], as_tuple=True)
        error = (self.pixels(tokens) - pixels).square().mean(-1)
        return {
            "category": functional.cross_entropy(words[0], category[row]),
            "pattern": functional.cross_entropy(words[1], pattern[row]),
            "motif": functional.cross_entropy(words[2], motif[row]),
            "traits": (words[3] - traits[row]).square().mean(),
            # All kept patches of a small batch may show objects: a mean of nothing is not a number.
            "scene": functional.cross_entropy(self.scene(tokens[behind, place]), scene[behind])
            if len(behind)
            else tokens.new_zeros(()),
            "share": functional.binary_cross_entropy_with_logits(self.share(tokens)[..., 0], share),
            "context": context_share(first[compared], second[compared]),
            "masked": error[hidden].mean(),
            "pixels": error[~hidden].mean(),
            "surroundings": (self.surroundings(tokens) - surroundings).square().mean(),
            "pattern_right": (words[1].argmax(1) == pattern[row]).float().mean(),
            "motif_right": (words[2].argmax(1) == motif[row]).float().mean(),
        }
