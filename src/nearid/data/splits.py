"""Train, validation and test identities: as released, or drawn."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearid.config.schema.dataset import NearidData, SyncdData
from nearid.data.released import ReleasedTable
from nearid.data.uniqueness import normalise
from nearid.errors import UserError
from nearid.io.files import read_json
from nearid.io.randomness import keyed_rng

if TYPE_CHECKING:
    from nearid.config.schema.dataset import Splits as Sizes
    from nearid.config.settings.data import CuratePositives

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
Splits = dict[str, list[int]]


@dataclass(frozen=True)
class Found:
    """Identities of an official split: how many are listed, found here by id and asset, and found by asset only."""

    listed: int
    by_both: int
    by_asset: int


@dataclass(frozen=True)
class SplitAssignment:
    """Rows of each split; the seed that drew them, None for official ones; per official list, how much was found."""

    splits: Splits
    seed: int | None = None
    found: Mapping[str, Found] = field(default_factory=dict)


def choose_splits(rows: Sequence[Mapping[str, Any]], settings: CuratePositives) -> SplitAssignment:
    """The rows of each split.

    Official splits come from the data set's option `official_splits`, else from the rows' own `split`; without either,
    splits are drawn. An official list may hold positions, which must cover `rows` exactly, or ids and assets, which are
    matched to whatever rows there are. A warning tells of assets or texts that two splits share.

    Args:
        rows: with `split`, `category`, `objaverse_id` and `category_description`.
        settings: of the curation.

    Raises:
        UserError: the official splits do not fit these rows, or there are too few rows for the sizes of the splits.
    """
    options = settings.dataset.options
    path = getattr(options, "official_splits", None)  # not every kind has this option
    seed = None
    found: Mapping[str, Found] = {}
    if path:
        listed = _read_official(Path(path))
        if any(isinstance(entry, tuple) for entries in listed.values() for entry in entries):
            splits, found = map_official(listed, rows, path)
        else:
            splits = {name: sorted(map(int, entries)) for name, entries in listed.items()}
            _check_partition(splits, len(rows), path)
    elif any(row["split"] for row in rows):
        splits = {name: [at for at, row in enumerate(rows) if row["split"] == name] for name in SPLITS}
        _check_partition(splits, len(rows), "the data set's column `split`")
    else:
        seed = settings.seed
        splits = draw_splits([row["category"] for row in rows], settings.splits, seed)
    for column in ("objaverse_id", "category_description"):
        homes = {(normalise(rows[at][column]), name) for name, members in splits.items() for at in members}
        shared = [value for value, count in Counter(value for value, _ in homes).items() if count > 1 and value]
        if shared and isinstance(options, SyncdData | NearidData):
            logger.warning("%d values of %s are in more than one split, e.g. %r", len(shared), column, shared[0])
    return SplitAssignment(splits, seed, found)


def map_official(
    listed: Mapping[str, Sequence[Any]], rows: Sequence[Mapping[str, Any]], where: object
) -> tuple[Splits, dict[str, Found]]:
    """Assign the rows of official identities to their split, and all other rows to `train`.

    Rows are matched by asset, not by id: another curation may have numbered identities differently, so a row with an
    official id but another asset is another identity.

    Args:
        listed: (id, asset) of each split's identities.
        rows: with `id` and `objaverse_id`.
        where: the lists' origin, for messages.

    Raises:
        UserError: no official test identity is among `rows`.
    """
    splits: Splits = {name: [] for name in SPLITS}
    home = {normalise(asset): (name, id) for name in SPLITS for id, asset in listed[name]}
    both, asset_alone = Counter[str](), Counter[str]()
    for at, row in enumerate(rows):
        name, id = home.get(normalise(row["objaverse_id"]), ("", None))
        splits[name or "train"].append(at)
        if name:
            (both if row["id"] == id else asset_alone)[name] += 1
    found = {name: Found(len(listed[name]), both[name], asset_alone[name]) for name in SPLITS}
    if not splits["test"]:
        raise UserError(
            where,
            f"none of {len(listed['test'])} official test identities among {len(rows)} identities here",
            "identities with the assets of the list",
            "data/dropped.tsv says what was dropped; without official splits they are drawn by `seed`",
        )
    for name, counts in found.items():
        missing = counts.listed - counts.by_both - counts.by_asset
        if missing and name != "train":
            logger.warning(
                "%d of %d official %s identities are not here (data/funnel.tsv)", missing, counts.listed, name
            )
    return splits, found


def _read_official(path: Path) -> dict[str, list[Any]]:
    """The official lists: positions in the released rows (from 0), or (id, asset) of each identity.

    `path` is a JSON file `{"train": [...], "val": [...], "test": [...]}`, a folder of `train.json`, `val.json` and
    `test.json`, one list each, or the folder of the released positives. An entry is a position, or has `id` and
    `objaverse_id`.
    """

    def read(entry: Any) -> int | tuple[int, str]:
        return (entry["id"], entry["objaverse_id"]) if isinstance(entry, dict) else int(entry)

    try:
        if path.is_dir() and not (path / "test.json").is_file():
            table = ReleasedTable(path)
            columns = [table.column(name) for name in ("split", "id", "objaverse_id")]
            rows = list(zip(*columns, strict=True))
            return {name: [(id, asset) for split, id, asset in rows if split == name] for name in SPLITS}
        content = {name: read_json(path / f"{name}.json") for name in SPLITS} if path.is_dir() else read_json(path)
        return {name: [read(entry) for entry in content[name]] for name in SPLITS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            path,
            f"no official splits ({error})",
            "lists train, val, test of positions, or of {id, objaverse_id}; or the released positives",
            "correct the file",
        ) from error


def _check_partition(splits: Splits, count: int, where: object) -> None:
    places = Counter(at for members in splits.values() for at in members)
    twice = [at for at, times in places.items() if times > 1]
    if twice or set(places) != set(range(count)):
        sizes = ", ".join(f"{name} {len(members)}" for name, members in splits.items())
        raise UserError(
            where,
            f"{sizes}: {len(twice)} rows in two splits, and {len(places)} rows for {count} identities here",
            "each row in one split",
            "data/funnel.tsv says what was dropped here; without official splits they are drawn by `seed`",
        )


def draw_splits(class_names: Sequence[str], sizes: Sizes, seed: int) -> Splits:
    """Rows of each split: `val` and `test` of the given sizes, `train` of all others.

    Stratified: each split gets about its share of each class, but where the sizes allow it no class has only one
    identity in a split, since an engine that pastes needs another identity of the same class and split.

    Args:
        class_names: class of each row.
        sizes: of `val` and `test`; with `test: all` everything that is not in `val`, and nothing is left for `train`.
        seed: data seed.

    Raises:
        UserError: `val` and `test` need more identities than there are.
    """
    there = len(class_names)
    val = sizes.val
    test = max(there - val, 0) if sizes.test == "all" else sizes.test
    wanted = val + test
    if wanted > there:
        raise UserError(
            "dataset.splits",
            f"val {val} + test {test} = {wanted}, but {there} usable identities",
            "val + test not above the number of usable identities",
            "make the splits smaller, or correct the records that data/dropped.tsv or this run's log lists",
        )
    left: dict[str, list[int]] = {}
    for row in keyed_rng("splits", seed).permutation(there):
        left.setdefault(class_names[row], []).append(int(row))
    splits: dict[str, list[int]] = {}
    for name, size in (("test", test), ("val", val)):
        taken = _share({key: len(rows) for key, rows in left.items()}, size)
        splits[name] = sorted(row for key, count in taken.items() for row in left[key][:count])
        left = {key: rows[taken[key] :] for key, rows in left.items() if len(rows) > taken[key]}
    splits["train"] = sorted(row for rows in left.values() for row in rows)
    return {name: splits[name] for name in SPLITS}


def _share(available: Mapping[str, int], size: int) -> dict[str, int]:
    """How many identities of each class form a split of `size`: near its fair share, if possible never only one."""
    taken = dict.fromkeys(available, 0)
    fair = {key: count * size / max(sum(available.values()), 1) for key, count in available.items()}

    def cost(move: tuple[str, int]) -> tuple[int, float]:
        key, step = move
        before, after = taken[key], taken[key] + step
        lonely = (after == 1) + (available[key] - after == 1) - (before == 1) - (available[key] - before == 1)
        # One place left after a class was begun may have to go to another new class, as its only identity.
        lonely += before == 0 and room - step == 1
        error = (after - fair[key]) ** 2 - (before - fair[key]) ** 2
        return lonely, error / step

    while room := size - sum(taken.values()):
        # Steps of two and three, so that a class of two or three can move as a whole.
        moves = [(key, step) for key in available for step in (1, 2, 3) if taken[key] + step <= available[key]]
        key, step = min((move for move in moves if move[1] <= room), key=cost)
        taken[key] += step
    return taken
