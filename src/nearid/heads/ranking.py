"""Ranking terms that objectives share: distractors against other identities, and against one another."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from nearid.errors import UserError
from nearid.heads.pools import Batch, global_mean, masked_logsumexp

# Edits whose severities differ by less are equally severe.
TIE = 1e-7
OracleScale = Literal["logit", "cosine"]


def rank_above_others(batch: Batch, temperature: float, negatives: Tensor | None = None) -> Tensor:
    """By how much each distractor fails to be closer to its anchor than other identities of the batch, [b, k].

    The ranking term of paper Eq. 2: `softplus(LSE over the batch negatives - distractor)`; zero without negatives.

    Args:
        negatives: mask [b, n * p] of pool columns; by default the valid positives of other rows.
    """
    mask = batch.negatives if negatives is None else negatives
    others = masked_logsumexp(batch.pool / temperature, mask)
    return F.softplus(others[:, None] - batch.distractor_cosines / temperature)


def rank_by_severity(batch: Batch, temperature: float, margin: float, scale: OracleScale = "logit") -> Tensor:
    """RankNet over pairs of a row's distractors: the less edited one should be closer (docs/losses.md R2).

    Args:
        margin: in units of `scale`.
        scale: D8, `logit` compares cosines over temperature, `cosine` raw ones as the authors' code does.

    Raises:
        UserError: the batch has no severities.
    """
    if batch.severity is None:
        raise UserError("oracle objective", "no severities", "one per distractor", "pass `severity` to the objective")
    closeness = batch.distractor_cosines / (temperature if scale == "logit" else 1.0)
    # [b, k, m]: k is edited less than m.
    pairs = batch.severity[:, None, :] - batch.severity[:, :, None] > TIE
    pairs = pairs & batch.distractor_mask[:, :, None] & batch.distractor_mask[:, None, :]
    return global_mean(F.softplus(closeness[:, None, :] - closeness[:, :, None] + margin), pairs)
