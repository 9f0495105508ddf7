"""Kinds of data sets: one module each, found by its name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from nearid.data.records import Dataset

if TYPE_CHECKING:
    from nearid.config.settings.data import AnyDataset


def open_dataset(settings: AnyDataset, seed: int) -> Dataset:
    """The data set that `settings` describe, made from its options and the data seed."""
    dataset: Dataset = import_module(f"nearid.data.datasets.{settings.kind}").Dataset(settings.options, seed)
    return dataset
