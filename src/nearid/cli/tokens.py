"""`nearid tokens`: frozen patch tokens of every image."""

from __future__ import annotations

from pathlib import Path

import click

from nearid.cli.options import step
from nearid.config.settings.tokens import BackboneSettings, ExtractTokens
from nearid.errors import UserError
from nearid.layout import Layout

OVERLAYS = click.argument("overlays", nargs=-1, type=click.Path(path_type=Path))
SHARDS = click.argument("shards", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.group()
def tokens() -> None:
    """Compute, check and describe frozen patch tokens; pretrain the demo's backbone."""


@tokens.command()
@click.option("--backbone", required=True, help="Id in the config's `backbones`.")
@click.option("--collection", required=True, help="`positives`, the id of a source, `mtg_train` or `mtg_test`.")
@click.option("--shard", required=True, help="Id of the shard; only `000` for MTG and collections without training.")
@click.option("--workers", default=1, show_default=True, help="Threads that decode and preprocess.")
@step("extract_tokens", ExtractTokens)
def extract(layout: Layout, settings: ExtractTokens, backbone: str, collection: str, shard: str, workers: int) -> None:
    """Extract the tokens of one shard, of whole images and foregrounds; started again after a kill, it resumes."""
    from nearid.tokens import load_backbone
    from nearid.tokens.collections import open_collection
    from nearid.tokens.extraction import extract

    parts = [open_collection(layout, collection, own, list(settings.variants)) for own in settings.shards]
    pictures = [picture for part, _ in parts for picture in part]
    inputs = [path for _, files in parts for path in files]
    target = layout.tokens(backbone, collection, shard)
    model = load_backbone(settings.backbone)
    extract(
        model,
        backbone,
        pictures,
        inputs,
        target,
        workers,
        settings.variants,
        settings.augmentations,
        collection,
        leave_gaps=settings.damaged_images == "gap",
    )


@tokens.command()
@SHARDS
def verify(shards: tuple[Path, ...]) -> None:
    """Read whole shards and check every image's checksum."""
    from nearid.tokens import TokenStore

    for shard in shards:
        store = TokenStore([shard])
        store.verify()
        gaps = f"; {len(store.gaps)} gaps instead of damaged images" if store.gaps else ""
        click.echo(f"{shard}: {len(store)} images, whole{gaps}")


@tokens.command()
@SHARDS
def info(shards: tuple[Path, ...]) -> None:
    """Describe shards as JSON."""
    import json
    from collections import Counter

    from nearid.tokens import TokenStore
    from nearid.tokens.augmentation import describe

    for shard in shards:
        store = TokenStore([shard])
        count, dim = store.token_shape
        variants = Counter(variant.decode() for variant in store.keys["variant"].tolist())
        held = {"shard": str(shard), "images": dict(sorted(variants.items())), "tokens": count, "dim": dim}
        held |= {"identities": len(set(store.keys["id"].tolist()))}
        changes = {
            variant: describe(store.parameters[store.keys["variant"] == variant.encode()]) for variant in variants
        }
        augmented = {variant: parts for variant, parts in sorted(changes.items()) if any(parts.values())}
        held |= {"augmented": augmented} if augmented else {}
        gaps = [{"id": id, "slot": slot, "reason": reason} for (id, slot), reason in store.gaps.items()]
        held |= {"gaps": gaps} if gaps else {}
        click.echo(json.dumps(held | store.attributes, indent=2))


@tokens.command()
@click.argument("shard", type=click.Path(path_type=Path))
@click.option("--config", multiple=True, type=click.Path(path_type=Path), help="Overlay on config.yaml (repeatable).")
@click.option("--images", default=128, show_default=True, help="How many to sample evenly from the shard.")
def precision(shard: Path, config: tuple[Path, ...], images: int) -> None:
    """What fewer bytes per token would change in the backbone's own embeddings, measured on a shard."""
    from nearid.config import load
    from nearid.config.steps import entry_of
    from nearid.tokens import TokenStore, load_backbone
    from nearid.tokens.precision import format_formats, measure_formats

    store = TokenStore([shard])
    checked, name = load(*config), str(store.attributes["backbone"])
    if name not in checked["backbones"]:
        known = sorted(checked["backbones"])
        raise UserError(shard, f"tokens of backbone {name}", f"one of {known}", "name its --config")
    backbone = load_backbone(BackboneSettings.parse(entry_of(checked, "backbones", name)))
    click.echo(format_formats(measure_formats(backbone, store, images)))


@tokens.command()
@OVERLAYS
@click.option("--read-gb-per-s", default=6.0, show_default=True, help="Rate at which training reads (NVMe: 6).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(overlays: tuple[Path, ...], read_gb_per_s: float, as_json: bool) -> None:
    """Images, variants, bytes, files, hours and reading time of the tokens of config.yaml with OVERLAYS on top."""
    import json
    from dataclasses import asdict

    from nearid.config import load, results_folder
    from nearid.planning.tokens import format_token_plan, plan_tokens

    config = load(*overlays)
    made = plan_tokens(config, Layout(results_folder(config)), read_gb_per_s)
    click.echo(json.dumps(asdict(made), indent=2) if as_json else format_token_plan(made), nl=as_json)


@tokens.command()
@OVERLAYS
@click.option("--whole", is_flag=True, help="Also read all tokens and images, and compare the backbones.")
@click.option("--cores", default=2, show_default=True, help="For the printed command.")
def repair_plan(overlays: tuple[Path, ...], whole: bool, cores: int) -> None:
    """List shards of config.yaml with OVERLAYS on top that are missing, damaged or stale, and the repairing command.

    The exit code is 1 if there are any.
    """
    from nearid.config import load, results_folder
    from nearid.planning.tokens import find_faults, repair_command

    config = load(*overlays)
    faults = list(find_faults(config, Layout(results_folder(config)), whole))
    for fault in faults:
        click.echo(f"{fault.path}: {fault.reason}")
    if not faults:
        click.echo("every shard is there" + (" and whole" if whole else "; --whole reads them too"))
        return
    click.echo(f"\n{repair_command(faults, overlays, cores)}")
    raise SystemExit(1)


@tokens.command()
@click.option("--settings", required=True, type=click.Path(path_type=Path), help="config/backbone.yaml or your own.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder of the model.")
def pretrain(settings: Path, output: Path) -> None:
    """Pretrain the demo's backbone; started again after a kill, it resumes."""
    from nearid.demo.pretraining import pretrain
    from nearid.io.yaml_files import read_yaml

    pretrain(read_yaml(settings, "settings of the demo's backbone"), output)
