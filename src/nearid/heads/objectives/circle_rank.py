"""Circle loss with a hinge that ranks distractors (paper Table 4; docs/losses.md 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from nearid.heads.objectives import Loss
from nearid.heads.pools import Batch, global_mean, masked_logsumexp, row_mean


@dataclass(frozen=True)
class CircleRankingLoss(Loss):
    """Circle loss against batch negatives and own distractors, plus .5 hinge; margin m .25, scale .07 and gamma 64.

        circle = mean of softplus( LSE over Y_i of -gamma [1 + m - c]+ (c - 1 + m)
                                   + LSE over N_i and Z_i of gamma [c + m]+ (c - m) )
        hinge  = mean of [ max over N_i of l(x_i, y) - l(x_i, z_ik) + m ]+

    c is a cosine, l a cosine over the temperature; [.]+ carries no gradient where it is a weight (docs/losses.md 4).

    Args:
        margin: of the circle and of the hinge; margin and scale `gamma` are the authors' (docs/losses.md D14).
        hinge: D10; the hardest batch negative on logits (the paper's form) or on cosines, or `mean_cosine`, the
            authors' mean over all columns of the pool, where own and padded ones count as 0.
        padding: D11, `keep` leaves padded positives of other rows among the circle's negatives.
    """

    alpha: float = 0.5
    margin: float = 0.25
    gamma: float = 64.0
    temperature: float = 0.07
    hinge: Literal["max_logit", "max_cosine", "mean_cosine"] = "max_logit"
    padding: Literal["exclude", "keep"] = "exclude"

    @property
    def reads_padding(self) -> bool:  # type: ignore[override]
        """See `Loss`."""
        return self.padding == "keep"

    def weights(self) -> dict[str, float]:
        """See `Loss`."""
        return {"circle": 1.0, "hinge": self.alpha}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """See `Loss`."""
        return {"circle": self._circle(batch), "hinge": global_mean(self._hinge(batch), batch.distractor_mask)}

    def _circle(self, batch: Batch) -> Tensor:
        near = batch.own_cosines
        far = torch.cat([batch.pool, batch.distractor_cosines], 1)
        others = ~batch.own_columns if self.padding == "keep" else batch.negatives
        # The detached factors weight a pair by its distance from its optimum; they carry no gradient.
        pull = -self.gamma * (1 + self.margin - near).detach().relu() * (near - 1 + self.margin)
        push = self.gamma * (far + self.margin).detach().relu() * (far - self.margin)
        far_mask = torch.cat([others, batch.distractor_mask], 1)
        return row_mean(F.softplus(masked_logsumexp(pull, batch.positive_mask) + masked_logsumexp(push, far_mask)))

    def _hinge(self, batch: Batch) -> Tensor:
        """[b, k], by how much each distractor fails to be closer to its anchor than other identities."""
        scale = self.temperature if self.hinge == "max_logit" else 1.0
        pool, distractors = batch.pool / scale, batch.distractor_cosines / scale
        if self.hinge == "mean_cosine":
            excess = (pool[:, None, :] - distractors[:, :, None] + self.margin).relu()
            return excess.masked_fill(~batch.negatives[:, None, :], 0.0).mean(2)
        hardest = pool.masked_fill(~batch.negatives, -torch.inf).amax(1)
        return (hardest[:, None] - distractors + self.margin).relu()
