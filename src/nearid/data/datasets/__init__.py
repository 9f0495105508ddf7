"""Kinds of data sets; one module per member, found by its name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from nearid.data.records import Dataset


def open_dataset(kind: str, options: dict[str, Any], seed: int) -> Dataset:
    """The data set of `kind`, made from its options and the data seed."""
    dataset: Dataset = import_module(f"nearid.data.datasets.{kind}").Dataset(options, seed)
    return dataset
