from collections import Counter

import pytest

from nearid.config.schema.dataset import Splits
from nearid.data.splits import draw_splits
from nearid.errors import UserError


def test_splits_are_disjoint_complete_and_keyed() -> None:
    classes = [f"class {row % 7}" for row in range(100)]
    splits = draw_splits(classes, Splits(val=15, test=31), seed=3)
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 54, "val": 15, "test": 31}
    assert sorted(row for rows in splits.values() for row in rows) == list(range(100))
    assert splits == draw_splits(classes, Splits(val=15, test=31), seed=3)
    assert splits != draw_splits(classes, Splits(val=15, test=31), seed=4)


@pytest.mark.parametrize("seed", range(5))
def test_no_identity_is_alone_in_its_class_where_that_can_be(seed: int) -> None:
    sizes = {"dog": 7, "toy": 5, "cat": 2, "bear": 3, "shoe": 2, "cup": 6}
    classes = [name for name, count in sizes.items() for _ in range(count)]
    splits = draw_splits(classes, Splits(val=5, test=10), seed)
    for rows in splits.values():
        assert 1 not in Counter(classes[row] for row in rows).values()


def test_large_classes_get_their_share() -> None:
    classes = [f"class {row % 4}" for row in range(400)]
    test = draw_splits(classes, Splits(val=0, test=80), seed=0)["test"]
    assert set(Counter(classes[row] for row in test).values()) == {20}


def test_all_test_and_too_many() -> None:
    assert draw_splits(["a"] * 4, Splits(val=0, test="all"), seed=0)["test"] == [0, 1, 2, 3]
    with pytest.raises(UserError, match="= 5, but 4 usable"):
        draw_splits(["a"] * 4, Splits(val=2, test=3), seed=0)
