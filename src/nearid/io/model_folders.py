"""The only place that loads models from folders, which others may have made.

Code in a folder, or in a repository of the hub, is never run: transformers would ask on the terminal whether to run it,
and would accept a `y` from a pipe as an answer. Sizes in a folder's configs are compared with its weight files, since
a few bytes there can declare a model of terabytes.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nearid.errors import UserError

# Files with numbers that determine the size of a model or schedule. Those of tokenizers use 10^30 for "no limit".
_CONFIGS = ("config.json", "model_index.json", "scheduler_config.json")
_CONFIG_BYTES = 10_000_000
_LARGEST = 10**8
"""The largest integer in a config that may be a size: more than any vocabulary or image has."""
_MOST_LAYERS = 10_000
_COUNTS_LAYERS = ("layers", "depth", "blocks", "experts", "timesteps")
_NO_SIZE = ("theta", "seed")
# Parts of a head's config about its training, with numbers such as bytes; nothing is built from them.
_NOT_BUILT = ("deepspeed", "settings")
_SPARE = 2**26
"""Numbers that a model may have beyond twice those of its weight files: computed tables, a missing head."""
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
# Quantised weights are packed into integers, several in each. These keys of `quantization_config` give the number of
# bits of a weight; if there is none, four are assumed.
_WHOLE_BITS = {name: int(name[1:]) for name in ("U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64")}
_SAY_BITS = ("bits", "num_bits", "nbits", "w_bit", "weight_bits")
_FEWEST_BITS = 4
_NEEDS_CODE = ("trust_remote_code", "remote code", "custom code", "contains custom")


def refuse_unreadable(folder: str | Path, error: BaseException) -> None:
    """Raise an error if a permission keeps a model or head from being loaded; else do nothing.

    Libraries wrap errors of the system in their own, so the causes of `error` and their texts are searched too.

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
        UserError: `source` needs code of its own, or is a folder whose configs declare more than its files hold.
        OSError, ValueError: files are missing or damaged, or `loader` cannot use their content.
    """
    try:
        with _quiet(), built_within(source):
            loaded = loader.from_pretrained(source, trust_remote_code=False, **arguments)
    except ValueError as error:
        if not any(words in str(error) for words in _NEEDS_CODE):
            raise
        raise UserError(
            source,
            "a model that runs Python code of its own",
            "a model of a kind that the installed transformers or diffusers knows",
            "code from a model's folder is never run: save it as such a model, or write a scorer (docs/own_scorer.md)",
        ) from error
    if components := getattr(loaded, "components", None):
        _check_components(Path(source), {name: part for name, part in components.items() if name not in arguments})
    return loaded


def load_whole(loader: Any, source: str | Path, **arguments: Any) -> Any:
    """As `load_pretrained`, for a model of transformers, from safetensors that have all its weights.

    Raises:
        UserError: as `load_pretrained`, or weights are missing, for which transformers would draw random ones.
        OSError, ValueError: as `load_pretrained`.
    """
    # Never a pickle, which could run arbitrary code.
    model, report = load_pretrained(loader, source, use_safetensors=True, output_loading_info=True, **arguments)
    if missing := [*sorted(report["missing_keys"]), *sorted(str(key) for key in report["mismatched_keys"])]:
        raise _refuse_weights(source, f"no weights for {', '.join(missing[:3])} ({len(missing)} are missing)")
    return model


def read_config(path: Path) -> dict[str, Any]:
    """The config of a model or head, checked for plausible sizes.

    Raises:
        UserError: it is no JSON object, nested too deeply, or a number in it is too large for a model.
        OSError: it cannot be read.
    """
    expected, action = "the config that was saved with the model", "take the model anew, or correct the path"
    if path.stat().st_size > _CONFIG_BYTES:
        raise UserError(path, f"{path.stat().st_size} bytes", f"at most {_CONFIG_BYTES}", action)
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(path, f"no JSON that can be read ({error})", expected, action) from error
    if not isinstance(config, dict):
        raise UserError(path, f"no JSON object but a {type(config).__name__}", expected, action)
    for key, value in _numbers({name: part for name, part in config.items() if name not in _NOT_BUILT}):
        most = _MOST_LAYERS if any(word in key for word in _COUNTS_LAYERS) else _LARGEST
        if abs(value) > most and not any(word in key for word in _NO_SIZE):
            raise UserError(path, f"{key}: {str(value)[:20]}", f"at most {most}", action)
    return config


@contextmanager
def built_within(source: str | Path) -> Iterator[None]:
    """In this context this thread builds no model that is much larger than the weight files in the folder `source`.

    For a hub id instead of a folder there is no such limit.

    Raises:
        UserError: the model would be larger, or a config is invalid (`read_config`); raised before weights are loaded.
        ValueError: any error of the code that reads config or weights at values that it does not expect.
        OSError: as raised in this context.
    """
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from torch import OutOfMemoryError
    from torch.nn.modules import module as modules

    folder = Path(source)
    if folder.is_dir():
        for path in sorted(found for name in _CONFIGS for found in (*folder.glob(name), *folder.glob(f"*/{name}"))):
            read_config(path)
    ours, built, limit = threading.get_ident(), 0, 0

    def count(module: Any, name: str, tensor: Any) -> None:
        nonlocal built, limit
        if tensor is None or threading.get_ident() != ours or not folder.is_dir():
            return
        # A weight that replaces another one on loading is not counted again.
        before = module._parameters.get(name, module._buffers.get(name))
        built += tensor.numel() - (0 if before is None else before.numel())
        limit = limit or 2 * _count_stored(folder) + _SPARE
        if built > limit:
            raise _refuse_weights(
                folder, f"config.json asks for more than {limit:.3g} numbers, weight files with {limit - _SPARE >> 1}"
            )

    hooks = [
        modules.register_module_parameter_registration_hook(count),
        modules.register_module_buffer_registration_hook(count),
    ]
    try:
        yield
    except OutOfMemoryError:
        raise  # the GPU is too small; the folder is not at fault
    except (
        *(TypeError, AttributeError, LookupError, ArithmeticError, AssertionError, RuntimeError, MemoryError),
        *(SafetensorError, StrictDataclassError),
    ) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    finally:
        for hook in hooks:
            hook.remove()


def _numbers(value: Any) -> Iterator[tuple[str, int]]:
    # The integers in a config, each with its key; iterative, since Python limits recursion.
    waiting = [("", value)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend((str(name), each) for name, each in value.items())
        elif isinstance(value, list):
            waiting.extend((key, each) for each in value)
        elif isinstance(value, int):
            yield key, value


def _count_stored(folder: Path) -> int:
    """How many numbers the weight files in `folder` and its subfolders hold; for pickles an upper bound."""
    from safetensors import safe_open

    stored = 0
    for path in (*folder.glob("*.*"), *folder.glob("*/*.*")):
        if path.suffix == ".safetensors":
            bits = _packed_bits(path.parent)
            # Reads only the header, and refuses one that does not fit the file.
            with safe_open(path, "np") as file:
                for name in file.keys():  # noqa: SIM118
                    part = file.get_slice(name)
                    packed = max(1, _WHOLE_BITS.get(part.get_dtype(), 0) // bits) if bits else 1
                    stored += packed * math.prod(part.get_shape())
        elif path.suffix in _PICKLES:
            stored += path.stat().st_size // 2
    return stored


def _packed_bits(folder: Path) -> int:
    """Least number of bits per weight of the model in `folder`, according to its config; 0: not quantised."""
    path = folder / "config.json"
    config = read_config(path) if path.is_file() else {}
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    if not any(part.get("quantization_config") for part in parts):
        return 0
    said = [value for key, value in _numbers(config) if key in _SAY_BITS and 0 < value <= 16]
    return max(_FEWEST_BITS, min(said, default=_FEWEST_BITS))


def _check_components(folder: Path, components: dict[str, Any]) -> None:
    # diffusers draws random weights for missing ones. Names do not show that, since old ones are translated; sizes do.
    from torch.nn import Module

    for name, part in components.items():
        if isinstance(part, Module) and (folder / name).is_dir():
            needed = sum(weight.numel() for weight in part.parameters())
            stored = _count_stored(folder / name)
            if needed > stored:
                raise _refuse_weights(folder / name, f"weight files with {stored} numbers, a config for {needed}")


def _refuse_weights(source: str | Path, found: str) -> UserError:
    return UserError(
        source,
        found,
        "all weights of the model that its config describes",
        "take the whole model anew, or correct the path",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    # Without this, transformers lists every weight of the text tower, which we leave out on purpose, warns about token
    # ids of its default text config and about torchvision, which we do not use, and draws a progress bar into logs.
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
