"""The data set: identities that distractors, tokens, heads and scores are made from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nearid.config.schema.base import ConfigBlock, Id, Number, Probability, absent, block


class Splits(ConfigBlock):
    """Identities for validation and for test; the rest is for training."""

    val: int = Field(0, ge=0)
    """Identities on which choices are made."""
    test: Annotated[int, Field(ge=0)] | Literal["all"] = 0
    """Identities used only for reported results; `all` takes everything that is not in val, so that none is left
    for training."""


class RenderedData(ConfigBlock):
    """Settings of `kind: rendered`."""

    identities: int = Field(700, ge=1)
    """How many identities to render."""
    size_px: int = Field(112, ge=32)
    """Side of a view in pixels."""
    three_view_fraction: Probability = 0.34
    """Share of identities with a third view."""
    scenes: Literal["kinds", "wild"] = absent()
    """`kinds` (when missing): twelve kinds of surroundings; `wild`: any floor with any wall and more clutter,
    hardly two alike."""
    mtg_train: int = Field(100, ge=0)
    """Identities of the part-edit training set."""
    mtg_test: int = Field(100, ge=0)
    """Identities of the part-edit test set."""


class ImageFolder(ConfigBlock):
    """Settings of `kind: image_folder`: `<identity>/<view>.jpg`, optional `<view>.mask.png`, optional classes.csv."""

    path: str = ""
    """The folder; see `photos_dir` for the command line."""
    mask_estimator: Id | Literal[""] = "grabcut"
    """What makes the missing masks: `grabcut`, or `mask_generation` with a model; empty: views without one are
    dropped."""
    mask_model: str = ""
    """Folder of a transformers mask-generation model."""
    size_px: int = Field(512, ge=32)
    """Longest side of a view after reading."""


class SyncdData(ConfigBlock):
    """Settings of `kind: syncd`."""

    path: str = "resources/syncd"
    """Folder of the unpacked release."""
    captions: str = ""
    """CSV of asset id and text (Cap3D's form) for records without a text of their own; empty: none."""
    ids: Literal["rigid", "release"] = "rigid"
    """An identity's id is its position among the `rigid` records, or in the whole `release`."""
    min_dino: Number = Field(0.0, ge=0)
    """A view is kept if another view has at least this similarity to it; 0 is off (SynCD's author suggests 0.7)."""
    max_dino: Number = Field(0.0, ge=0)
    """Views more alike than this do not count as another view; 0 is off (SynCD's code takes 0.98)."""
    min_aesthetics: Number = Field(0.0, ge=0)
    """A view needs at least this aesthetics score; 0 is off (SynCD's author suggests 6)."""
    official_splits: str = ""
    """The paper's splits: JSON of lists (train, val, test), a folder of such files, or the released positives. Ids
    with assets are looked up in this data set; positions need the released rows; empty: drawn by `seed`."""
    check_counts: bool = True
    """Compare the final counts with the paper's and warn of a difference."""
    dedupe: Literal["each", "pair"] = "each"
    """Uniqueness of asset and description: `each` on its own, or as a `pair`."""
    mtg: str = "resources/mtg"
    """Folder of the released Mind-the-Glitch set."""


class NearidData(ConfigBlock):
    """Settings of `kind: nearid` (the released positives and distractors)."""

    path: str = "resources/nearid"
    """Folder of the released positives."""
    official_splits: str = ""
    """JSON of row positions (train, val, test); empty: the column `split`, or drawn by `seed`."""
    check_counts: bool = True
    """Compare the final counts with the paper's and warn of a difference."""
    mtg: str = "resources/mtg"
    """Folder of the released Mind-the-Glitch set."""


class Dataset(ConfigBlock):
    """The identities that distractors, tokens, heads and scores are made from."""

    kind: Id
    """`rendered` (embedded, made here), `image_folder` (your photographs), `syncd` or `nearid` (the released sets)."""
    shards: int = Field(1, ge=1, le=999)
    """Number of files that the rows are divided into."""
    splits: Splits = block(Splits)
    """Identities for validation and for test; the rest is for training."""
    keep_raw_masks: bool = False
    """Also keep the data set's own grey masks, which `training.masks: raw` and a matcher's `masks: raw` use."""
    clean_masks: bool = False
    """Smooth, threshold, close, open and fill the masks (paper's foreground condition; for SynCD's JPEG masks)."""
    min_views: int = Field(2, ge=2)
    """An identity with fewer usable views is dropped and listed in data/dropped.tsv."""
    rendered: RenderedData = block(RenderedData)
    """Settings of `kind: rendered`."""
    image_folder: ImageFolder = block(ImageFolder)
    """Settings of `kind: image_folder`: `<identity>/<view>.jpg`, optional `<view>.mask.png`, optional classes.csv."""
    syncd: SyncdData = block(SyncdData)
    """Settings of `kind: syncd`."""
    nearid: NearidData = block(NearidData)
    """Settings of `kind: nearid` (the released positives and distractors)."""
