"""A made-up run: its settings, as rules pass them (`RUN`) and parsed, and scores."""

from __future__ import annotations

from nearid.config.settings.paper import MakePage, MakeTable, Run
from nearid.io.files import write_json
from nearid.io.tables import read_table
from nearid.layout import Layout

SCORERS = [
    {"id": "siglip2", "display": "SigLIP 2 (frozen)", "kind": "encoder", "paper_row": "siglip2", "retrained": False},
    {"id": "infonce", "display": "InfoNCE", "kind": "head", "paper_row": "infonce", "retrained": True},
    {"id": "nearid", "display": "NearID", "kind": "head", "paper_row": "nearid", "retrained": True},
    {
        "id": "colour_histogram",
        "display": "Colour & <mask>_%",
        "kind": "colour_histogram",
        "paper_row": "",
        "retrained": False,
    },
]
SOURCES = [
    {"id": "sibling", "display": "Sibling", "working_px": 64},
    {"id": "sibling_half", "display": "Sibling, half", "working_px": 32},
    {"id": "cut_paste", "display": "Cut and paste", "working_px": 64},
]
GROUPS = {
    "train": ["sibling", "sibling_half"],
    "unseen": ["cut_paste"],
    "all": ["sibling", "sibling_half", "cut_paste"],
}
RUN = {
    "name": "tiny",
    "seed": 0,
    "dataset_kind": "rendered",
    "scorers": SCORERS,
    "sources": SOURCES,
    "groups": GROUPS,
    "headline_group": "all",
    "group_roles": {"train": "train", "unseen": "unseen"},
    "benchmarks": ["nearid_bench", "mtg"],
    "official_splits": False,
    "released": [],
}
SSR = {"siglip2": 20.0, "infonce": 60.0, "nearid": 90.0, "colour_histogram": 35.0}


def run(**changes) -> Run:
    return Run.parse(RUN | changes)


def table(name: str, **changes) -> MakeTable:
    return MakeTable.parse({"table": name, "run": RUN | changes})


def page(**changes) -> MakePage:
    shown = {name: {"table": name, "run": RUN | changes} for name in ("table1", "table3", "table5")}
    return MakePage.parse({"run": RUN | changes, "tables": shown, "compared": shown, "figures": ["figure5", "figure7"]})


PAGE = page()
TABLES = PAGE.tables


def rates(ssr: float, n: int = 20) -> dict:
    return {
        "ssr": ssr,
        "ssr_mean": ssr,
        "pa": (100 + ssr) / 2,
        "pa_table": (150 + 2.5 * ssr) / 4,
        "n": n,
        "trials": 3 * n,
        "ssr_ci": [ssr - 4, ssr + 4],
        "pa_ci": [ssr, 100.0],
        "cosine": {"positive": 0.8, "distractor": 0.5, "random": 0.1},
    }


def metrics(scorer: str, ssr: float) -> dict:
    def condition(ssr: float) -> dict:
        return {
            "sources": {source["id"]: rates(ssr + index) for index, source in enumerate(SOURCES)},
            "groups": {"train": rates(ssr + 0.5, 40), "unseen": rates(ssr + 2), "all": rates(ssr, 60)},
            "cosine": {"positive": 0.8, "distractor": 0.5, "random": 0.1},
        }

    edits = {"m_o": ssr / 200, "m_o_pair": ssr / 150, "mtg_ssr": ssr / 2, "mtg_pa": ssr / 1.5, "n": 10, "trials": 20}
    return {
        "scorer": scorer,
        "headline_group": "all",
        # Scorers that look at the background gain most by masking it.
        "nearid_bench": {"full": condition(ssr), "fg": condition(100 - 0.62 * (100 - ssr))},
        "mtg": {"full": edits, "fg": edits},
        "m_h": None,
        "reasons": {"m_h": "DreamBench++ is not selected"},
    }


def identities(layout: Layout) -> list[dict]:
    return read_table(layout.identities).to_pylist()


def write_scores(layout: Layout, ssr: dict[str, float]) -> None:
    for scorer, value in ssr.items():
        write_json(layout.metrics(scorer), metrics(scorer, value))
