"""The only place that loads models from folders: code in a folder, or in a repository of the hub, is never run.

transformers would ask on the terminal whether to run it, and would accept a `y` from a pipe as an answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nearid.errors import UserError

_NEEDS_CODE = ("trust_remote_code", "remote code", "custom code", "contains custom")


def refuse_unreadable(folder: str | Path, error: BaseException) -> None:
    """Say so where it is a permission that keeps a model or head from being loaded; else do nothing.

    Libraries wrap what the system says into errors of their own, so the ones behind `error` and the text count too.

    Raises:
        UserError: a file of `folder`, or the folder, may not be read.
    """
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, PermissionError) or "permission denied" in str(behind).lower():
            raise UserError(
                getattr(behind, "filename", None) or folder,
                f"no permission to read it, for user {os.geteuid()}",
                "files that you may read, in folders that you may enter",
                "ask their owner for `chmod -R g+rX` or `a+rX` of the folder, or copy it",
            ) from error
        behind = behind.__cause__ or behind.__context__


def load_pretrained(loader: Any, source: str | Path, **arguments: Any) -> Any:
    """`loader.from_pretrained(source, **arguments)` of a class of transformers or diffusers.

    Raises:
        UserError: `source` is to be read by code of its own.
        OSError, ValueError: as `loader` raises them where files are missing or damaged.
    """
    try:
        with _quiet():
            return loader.from_pretrained(source, trust_remote_code=False, **arguments)
    except ValueError as error:
        if not any(words in str(error) for words in _NEEDS_CODE):
            raise
        raise UserError(
            source,
            "a model that runs Python code of its own",
            "a model of a kind that the installed transformers or diffusers knows",
            "code from a model's folder is never run: save it as such a model, or write a scorer (docs/own_scorer.md)",
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    # Else transformers lists every weight of the text tower, which we leave out knowingly, warns of the token ids of
    # the one that it has by default, and of torchvision, which we do without; and it draws a bar into logs.
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
