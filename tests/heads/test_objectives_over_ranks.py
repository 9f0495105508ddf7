"""Two ranks with unequal counts give the golden value and gradient of one device (docs/losses.md 2, 6)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from nearid.heads.objectives import create

pytestmark = pytest.mark.numerics

GOLDEN = Path(__file__).parent / "golden"
OBJECTIVES = {
    "nearid_a1_coh_b0.3": ("nearid", {"alpha": 1.0, "beta": 0.3}),
    "infonce_sym": ("infonce", {}),
    "infonce_sym_rneg": ("infonce_distractors", {}),
    "infonce_sym_oracle_logit_w0.5": ("infonce_oracle", {}),
    "infonce_sym_rneg_oracle_logit_w0.5": ("infonce_distractors_oracle", {}),
    "siglip_rank_a0.5": ("siglip_rank", {}),
    "circle_rank_max_logit_a0.5": ("circle_rank", {}),
    "circle_rank_mean_cosine_a0.5": ("circle_rank", {"hinge": "mean_cosine"}),
}


def evaluate(rank, rendezvous, results):
    """Evaluate every objective on half of the golden rows; store value and gradients."""
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    rows = slice(3 * rank, 3 * rank + 3)
    found = {}
    with np.load(GOLDEN / "golden_losses.npz") as arrays:
        masks = [torch.tensor(arrays[f"mixed__{name}_mask"][rows]) for name in ("pos", "dis")]
        picks, severity = (torch.tensor(arrays[name][rows]) for name in ("mixed__pick", "severity"))
        for name, (objective, params) in OBJECTIVES.items():
            raw = [
                torch.tensor(arrays[part][rows], requires_grad=True) for part in ("anchor", "positive", "distractor")
            ]
            value = create(objective, **params)(*raw, *masks, severity, picks)
            gradients = torch.autograd.grad(value, raw, allow_unused=True, materialize_grads=True)
            found[name] = [value.detach(), *gradients]
    torch.save(found, results / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_give_the_golden_values(tmp_path, start_apart):
    calls = [(rank, tmp_path / "rendezvous", tmp_path) for rank in (0, 1)]
    assert start_apart(evaluate, calls) == [0, 0]
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    expected = json.loads((GOLDEN / "golden_losses.json").read_text())["expected"]["mixed"]
    with np.load(GOLDEN / "golden_losses.npz") as arrays:
        directions = [torch.tensor(arrays[f"dir_{part}"]) for part in ("anchor", "positive", "distractor")]
    for name in OBJECTIVES:
        (value, *gradients), reference = zip(*(rank[name] for rank in ranks), strict=True), expected[name]
        assert sum(value).item() / 2 == pytest.approx(reference["value"], rel=1e-8)
        averaged = [torch.cat(parts) / 2 for parts in gradients]
        norms = [reference[f"grad_norm_{part}"] for part in ("anchor", "positive", "distractor")]
        assert [gradient.norm().item() for gradient in averaged] == pytest.approx(norms, rel=1e-8, abs=1e-12)
        slope = sum((gradient * direction).sum() for gradient, direction in zip(averaged, directions, strict=True))
        assert slope.item() == pytest.approx(reference["dir_derivative"], rel=1e-8)
