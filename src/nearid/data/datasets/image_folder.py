"""Own pictures: `<identity>/<view>.jpg`, `<view>.mask.png` and `classes.csv` if there are any (docs/own_images.md)."""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nearid.data.masks import Estimator
from nearid.data.records import Dropped, Identity, View
from nearid.errors import UserError
from nearid.io.file_lists import hash_looks
from nearid.io.images import decode_mask, decode_rgb
from nearid.io.masks import doubt
from nearid.io.sheets import LEFTOVERS, printable, read_sheet

if TYPE_CHECKING:
    from nearid.config.schema.dataset import ImageFolder

_SUFFIXES = {".jfif", ".jpeg", ".jpg", ".png", ".webp"}
_MASK = re.compile(r"(?P<view>.+?)[._ -]+mask|mask[._ -]+(?P<view_>.+)", re.IGNORECASE)
"""File names of masks, without the suffix."""
_MASK_FOLDERS = ("masks", "mask")
_CLASSES = "classes.csv"


class Dataset:
    """An image folder.

    Args:
        options: `path`, `mask_estimator` (member of nearid.data.masks; empty: views without a mask file are dropped),
            `mask_model` (for estimators that load one), `size_px` (larger pictures are scaled down to this long side).
        seed: unused; nothing is drawn.

    Raises:
        UserError: no such folder, no identities in it, or a class file that does not match its sub-folders.
    """

    def __init__(self, options: ImageFolder, seed: int) -> None:
        del seed
        self._options = options
        self._root = Path(options.path)
        if not options.path or not self._root.is_dir():
            raise UserError(
                "dataset.image_folder.path",
                f"{options.path!r} is no folder",
                "a folder with one sub-folder of pictures per identity",
                "give its path, e.g. --config with dataset: {image_folder: {path: ...}}",
            )
        folders = (path for path in self._root.iterdir() if path.is_dir() and path.name not in LEFTOVERS)
        self._folders = sorted(path for path in folders if not path.name.startswith("."))
        if not self._folders:
            raise UserError(self._root, "no sub-folders", "one sub-folder of pictures per identity", "sort them so")
        self._classes = self._read_classes()

    def names(self) -> list[str]:
        """Folder names in lower case, with `_` for spaces and punctuation; see `nearid.data.records.Dataset`."""
        seen: dict[str, Path] = {}
        for folder in self._folders:
            other = seen.setdefault(_normalise(folder.name), folder)
            if other != folder:
                raise UserError(
                    self._root,
                    f"the folders {other.name!r} and {folder.name!r} are both named {_normalise(folder.name)!r}",
                    "names that differ in more than case, blanks and punctuation",
                    "rename one of them, or join them if they show one object",
                )
        return list(seen)

    def fingerprint(self) -> str:
        """Hash of the names, sizes and modification times of all files."""
        model = self._options.mask_model
        return hash_looks(self._root, *([Path(model)] if model else []))

    def load(self, index: int) -> tuple[Identity | None, list[Dropped]]:
        """Decode the pictures and masks of folder `index`; the id is the folder's position in sorted order."""
        folder, name = self._folders[index], self.names()[index]
        views: list[View] = []
        dropped: list[Dropped] = []
        pictures, masks, strays = _sort_files(folder)
        dropped += [Dropped(name, printable(str(file.relative_to(folder))), reason) for file, reason in strays]
        for picture in pictures:
            try:
                views.append(self._load_view(picture, masks.get(picture)))
            except UserError as error:
                dropped.append(Dropped(name, printable(picture.name), printable(error.found)))
        class_name, description = self._classes.get(_compose(folder.name), ("object", name.replace("_", " ")))
        return Identity(index, name, class_name, description, tuple(views)), dropped

    def _load_view(self, picture: Path, mask_file: Path | None) -> View:
        image = decode_rgb(picture)
        mask = None
        if mask_file is not None:
            mask = _read_mask(mask_file)
            _check_shape(mask, image, mask_file)
            # The curation rejects empty and full masks itself, with a clearer reason.
            if mask.any() and not mask.all() and (reason := doubt(mask)):
                raise UserError(mask_file, reason, "white where the object is, black around it", "correct the mask")
        image = _reduce(image, self._options.size_px)
        height, width = image.shape[:2]
        if mask is not None:
            resized = Image.fromarray(mask.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
            mask = np.asarray(resized) > 0
        elif self._estimator is not None:
            mask = self._estimator.estimate(image)
        return View(image, mask, prompt="", filename=printable(f"{picture.parent.name}/{picture.name}"))

    @cached_property
    def _estimator(self) -> Estimator | None:
        member = self._options.mask_estimator
        if not member:
            return None
        estimator: Estimator = import_module(f"nearid.data.masks.{member}").Estimator(self._options)
        return estimator

    def _read_classes(self) -> dict[str, tuple[str, str]]:
        """Folder name -> class and foreground text; empty if there is no class file."""
        path = self._root / _CLASSES
        if not path.exists():
            return {}
        rows = read_sheet(path, ("subject", "class"), ("description",))
        subjects = [_compose(row["subject"]) for row in rows]
        folders = {_compose(folder.name) for folder in self._folders}
        twice = sorted({subject for subject in subjects if subjects.count(subject) > 1})
        if set(subjects) != folders or twice:
            raise UserError(
                path,
                f"folders without a line: {sorted(folders - set(subjects))}, "
                f"lines without a folder: {sorted(set(subjects) - folders)}, subjects with two lines: {twice}",
                "one line per folder",
                "correct the file, or delete it: without it all identities are of one class",
            )
        return {_compose(row["subject"]): (row["class"], row["description"] or row["class"]) for row in rows}


def _compose(name: str) -> str:
    """`name` in Unicode's NFC: file systems and spreadsheets encode the same accents differently."""
    return unicodedata.normalize("NFC", name)


def _normalise(name: str) -> str:
    """`name` in lower case, with `_` for all but letters and digits; its code points if it has neither."""
    plain = re.sub(r"(_|[^\w\u0300-\u036f])+", "_", _compose(name).lower()).strip("_")
    return plain or "_".join(f"{ord(sign):x}" for sign in name)


def _sort_files(folder: Path) -> tuple[list[Path], dict[Path, Path], list[tuple[Path, str]]]:
    """Pictures in order of name, the mask of each, and the files that are not used, with the reason."""
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    inside = [path for path in files if path.is_dir() and path.name.lower() in _MASK_FOLDERS]
    drawn = [path for place in inside for path in sorted(place.iterdir()) if not path.name.startswith(".")]
    named = [path for path in files if _is_picture(path) and _MASK.fullmatch(path.stem)]
    pictures = [path for path in files if _is_picture(path) and path not in named]
    firsts: dict[str, Path] = {}
    twice = [picture for picture in pictures if firsts.setdefault(picture.stem, picture) != picture]
    pictures = list(firsts.values())
    views = {name: picture for picture in pictures for name in (picture.stem, picture.name)}
    masks: dict[Path, Path] = {}
    strays = [(path, f"another view of this name: {firsts[path.stem].name}") for path in twice]
    for path in named + drawn:
        match = _MASK.fullmatch(path.stem)
        names = [path.stem, *([match["view"] or match["view_"]] if match else [])]
        picture = next((views[name] for name in reversed(names) if name in views), None)
        if path in drawn and not _is_picture(path):
            strays.append((path, "not a mask that can be read"))
        elif picture is None:
            strays.append((path, "a mask without its picture"))
        elif masks.setdefault(picture, path) != path:
            strays.append((path, f"a second mask of {picture.name}: {masks[picture].name} is taken"))
    known = {*pictures, *twice, *named, *inside}
    strays += [(path, f"not a picture ({', '.join(sorted(_SUFFIXES))})") for path in files if path not in known]
    return pictures, masks, strays


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not path.is_dir()


def _read_mask(path: Path) -> NDArray[np.bool_]:
    try:
        return decode_mask(path)
    except UserError as error:  # dropped.tsv lists it under the view's name
        raise UserError(path, f"mask {path.name}: {error.found}", error.expected, error.action) from error


def _check_shape(mask: NDArray[np.bool_], image: NDArray[np.uint8], mask_file: Path) -> None:
    """Raise UserError if the mask's aspect ratio shows that it belongs to another picture; a smaller mask is fine."""
    (mask_h, mask_w), (height, width) = mask.shape, image.shape[:2]
    if abs(mask_h * width - mask_w * height) > 0.02 * mask_w * height:
        raise UserError(
            mask_file,
            f"mask {mask_file.name} of {mask_w} x {mask_h} px, but a picture of {width} x {height} px",
            "a mask of the picture's size, or of its aspect",
            "make the mask again from this picture",
        )


def _reduce(image: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """`image` scaled down to a long side of at most `size_px`; image processors resize it anyway."""
    height, width = image.shape[:2]
    if max(height, width) <= size_px:
        return image
    factor = size_px / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
