"""Differences of a config from the paper (sizes, steps, schedules) that make its numbers not comparable."""

from __future__ import annotations

from collections.abc import Iterator

from nearid.config.types import Config

TEST_IDENTITIES = 500
TRAINING = {"epochs": 11, "batch_size": 128, "learning_rate": 1e-4}
"""Section 4.1 of the paper."""
STEPS = {
    "flux": 50, "flux_1024": 50, "qwen": 8, "qwen_1328": 8, "powerpaint": 45,
    "sdxl": 30, "sdxl_1024": 30, "fluxc": 28, "fluxc_1024": 28,
}  # fmt: skip
PIXELS = {
    "flux": 512, "flux_1024": 1024, "qwen": 512, "qwen_1328": 1328, "powerpaint": 640,
    "sdxl": 512, "sdxl_1024": 1024, "fluxc": 512, "fluxc_1024": 1024,
}  # fmt: skip
"""Denoising steps and working size of the paper's sources."""


def differences(config: Config) -> dict[str, list[str]]:
    """Differences from the paper, in words: in the `data` that is scored, and in the `training` of heads."""
    if config["dataset"]["kind"] not in ("syncd", "nearid"):
        return {}  # such data has nothing in common with the paper's
    found = {"data": list(_of_data(config)), "training": list(_of_training(config))}
    return {part: told for part, told in found.items() if told}


def _of_data(config: Config) -> Iterator[str]:
    test = config["dataset"]["splits"].get("test", 0)
    if config["dataset"]["kind"] == "syncd" and test != TEST_IDENTITIES:
        yield f"{test} test identities (paper: {TEST_IDENTITIES})"
    for name in config["select"]["sources"]:
        source = config["sources"][name]
        if name in config["released"] or name not in STEPS:
            continue
        for key, ours, theirs in (
            ("steps", source["options"].get("steps"), STEPS[name]),
            ("px", source["working_px"], PIXELS[name]),
        ):
            if ours != theirs:
                yield f"{name} painted with {ours} {key} (paper: {theirs})"


def _of_training(config: Config) -> Iterator[str]:
    for key, theirs in TRAINING.items():
        own = [config["ablations"][name]["training"] for name in config["select"]["ablations"]]
        ours = {training.get(key, config["training"][key]) for training in own} - {theirs}
        if ours:
            yield f"{key} {', '.join(f'{value:g}' for value in sorted(ours))} (paper: {theirs:g})"
