"""The paper's effects as yes-or-no questions to a run, with the numbers that answer them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nearid.paper.metrics import Cell, Metrics
from nearid.paper.run import Run

FROZEN_AT_MOST = 30.0
NEARID_AT_LEAST = 75.0
GAP_AT_MOST = 10.0


@dataclass(frozen=True)
class Effect:
    """A claim and what this run says: `holds` is None where the run cannot tell."""

    claim: str
    numbers: str
    holds: bool | None

    @property
    def verdict(self) -> str:
        """In words."""
        return {True: "holds", False: "does not hold", None: "cannot be told"}[self.holds]


def find_effects(run: Run, metrics: Mapping[str, Metrics]) -> list[Effect]:
    """Every effect of the paper that a single run can show, in the paper's direction."""

    def ssr(paper_row: str, group: str = run.headline_group) -> Cell:
        scorer = run.in_paper_row(paper_row)
        if scorer is None:
            return Cell(reason=f"no scorer stands for {paper_row}")
        return metrics[scorer.id].rate("ssr", group)

    def cosine(pair: str) -> Cell:
        scorer = run.in_paper_row("nearid")
        return metrics[scorer.id].cosine(pair) if scorer else Cell(reason="no scorer stands for nearid")

    effects = [
        _judge(
            f"The frozen trunk fails: SSR at most {FROZEN_AT_MOST:.0f}",
            {"frozen": ssr("siglip2")},
            lambda frozen: frozen <= FROZEN_AT_MOST,
        ),
        _judge(
            f"NearID tells near-identities apart: SSR at least {NEARID_AT_LEAST:.0f}",
            {"NearID": ssr("nearid")},
            lambda nearid: nearid >= NEARID_AT_LEAST,
        ),
        _judge(
            "NearID is above InfoNCE, and InfoNCE above the frozen trunk",
            {"NearID": ssr("nearid"), "InfoNCE": ssr("infonce"), "frozen": ssr("siglip2")},
            lambda nearid, infonce, frozen: nearid > infonce > frozen,
        ),
    ]
    for unseen in [group for group in run.groups if group.startswith("unseen")]:
        train = next((group for group in run.groups if group.startswith("train")), "train")
        effects.append(
            _judge(
                f"It carries over to sources never trained on: {train} and {unseen} at most {GAP_AT_MOST:.0f} apart",
                {f"NearID {train}": ssr("nearid", train), f"NearID {unseen}": ssr("nearid", unseen)},
                lambda seen, other: abs(seen - other) <= GAP_AT_MOST,
            )
        )
    effects.append(
        _judge(
            "NearID's mean cosines are in order: same object > distractor > random",
            {pair: cosine(pair) for pair in ("positive", "distractor", "random")},
            lambda positive, distractor, random: positive > distractor > random,
            digits=2,
        )
    )
    colours = next((scorer for scorer in run.scorers if scorer.kind == "colour_histogram"), None)
    if colours:
        effects.append(
            _judge(
                "Colour alone does not solve it: a colour histogram inside the exact mask stays below NearID",
                {"colours": metrics[colours.id].rate("ssr", run.headline_group), "NearID": ssr("nearid")},
                lambda colour, nearid: colour < nearid,
            )
        )
    return effects


def _judge(claim: str, cells: Mapping[str, Cell], holds: Callable[..., bool], digits: int = 1) -> Effect:
    values = [cell.value for cell in cells.values()]
    numbers = ", ".join(
        f"{name} {cell.value:.{digits}f}" if cell.value is not None else f"{name} unknown ({cell.reason})"
        for name, cell in cells.items()
    )
    return Effect(claim, numbers, None if None in values else holds(*values))
