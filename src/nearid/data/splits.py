"""Drawing train, validation and test identities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nearid.errors import UserError
from nearid.io.randomness import keyed_rng

SPLITS = ("train", "val", "test")


def draw_splits(class_names: Sequence[str], sizes: Mapping[str, int | str], seed: int) -> dict[str, list[int]]:
    """Rows of each split: `val` and `test` of the given sizes, the rest trains.

    Stratified: each split gets about its share of each class, but one identity of a class becomes two or none
    wherever the sizes allow it, since an engine that pastes needs another identity of the same class and split.

    Args:
        class_names: class of each row.
        sizes: `{"val": n, "test": m}`; m may be `all`: what is not in val, so that none trains.
        seed: data seed.

    Raises:
        UserError: more identities are asked for than there are.
    """
    there = len(class_names)
    val = int(sizes["val"])
    test = max(there - val, 0) if sizes["test"] == "all" else int(sizes["test"])
    wanted = val + test
    if wanted > there:
        raise UserError(
            "dataset.splits",
            f"val {val} + test {test} = {wanted}, but {there} usable identities",
            "val + test not above the number of usable identities",
            "make the splits smaller, or mend the records that data/dropped.tsv or this run's log lists",
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
    """How many of each class make a split of `size`: near its fair share, lonely identities avoided."""
    taken = dict.fromkeys(available, 0)
    fair = {key: count * size / max(sum(available.values()), 1) for key, count in available.items()}

    def cost(move: tuple[str, int]) -> tuple[int, float]:
        key, step = move
        before, after = taken[key], taken[key] + step
        lonely = (after == 1) + (available[key] - after == 1) - (before == 1) - (available[key] - before == 1)
        # A last place for one might have to open a class.
        lonely += before == 0 and room - step == 1
        error = (after - fair[key]) ** 2 - (before - fair[key]) ** 2
        return lonely, error / step

    while room := size - sum(taken.values()):
        # Steps of two and three, so that a class of two or three can move as a whole.
        moves = [(key, step) for key in available for step in (1, 2, 3) if taken[key] + step <= available[key]]
        key, step = min((move for move in moves if move[1] <= room), key=cost)
        taken[key] += step
    return taken
