"""`nearid bench`: the protocol's table for any encoder."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nearid.config.settings.tokens import BackboneSettings
from nearid.errors import UserError
from nearid.layout import Layout

OVERLAYS = {"rendered": ("config/demo.yaml",), "image_folder": ("config/demo.yaml", "config/photos.yaml")}
"""Overlays on config.yaml for a kind of data set, if none are given."""


@click.command()
@click.option("--encoder", required=True, help="Folder or hub id of a vision model; or a scorer or backbone of config.")
@click.option("--dataset", required=True, help="Kind of data set: rendered, image_folder, syncd, nearid.")
@click.option("--config", multiple=True, type=click.Path(path_type=Path), help="Overlay on config.yaml (repeatable).")
@click.option("--results", type=click.Path(path_type=Path), help="The folder results/<name> with its data.")
@click.option(
    "--readout", type=click.Choice(["map", "mean"]), default="map", show_default=True, help="map: the model's own."
)
@click.option("--precision", type=click.Choice(["float32", "float16", "bfloat16"]), default="float32")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, help="Images per forward pass.")
@click.option("--json", "as_json", is_flag=True, help="Print the metrics as JSON instead of a table.")
def bench(
    encoder: str,
    dataset: str,
    config: tuple[Path, ...],
    results: Path | None,
    readout: str,
    precision: str,
    batch_size: int,
    as_json: bool,
) -> None:
    """NearID-bench and MTG for your own encoder, on the images of a run; no head is trained.

    Scores and metrics are in results/<name>/scores/own_<encoder>; a stopped run continues.
    """
    from nearid.config import load, results_folder
    from nearid.scores.own_encoder import evaluate, format_table

    overlays = config or tuple(map(Path, OVERLAYS.get(dataset, ())))
    whole = load(*overlays)
    if not config and dataset not in OVERLAYS:
        whole["dataset"]["kind"] = dataset
    if whole["dataset"]["kind"] != dataset:
        raise UserError(
            "--dataset", dataset, f"{whole['dataset']['kind']}, as the config says", "correct one of the two"
        )
    layout = Layout(results or results_folder(whole))
    entry = {"kind": "auto", "path": encoder, "revision": "", "precision": precision, "batch_size": batch_size}
    backbone = BackboneSettings.parse(entry, "nearid bench")
    made_by = f"snakemake --cores 2 --configfile {' '.join(map(str, overlays))}" if overlays else "snakemake --cores 2"
    metrics = evaluate(encoder, backbone, readout, whole, layout, made_by)
    click.echo(json.dumps(metrics, indent=2) if as_json else format_table(metrics, encoder, layout))
