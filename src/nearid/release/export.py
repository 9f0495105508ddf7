"""Trained heads as model folders, and the data of a run in the layout of the released sets."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from nearid.config.settings.tokens import BackboneSettings
from nearid.data.kinds import KINDS
from nearid.data.schema import DISTRACTORS, POSITIVES
from nearid.errors import UserError
from nearid.io.files import read_json, sync_folder, write_json, write_text
from nearid.io.sheets import read_text
from nearid.io.tables import IMAGE, image_bytes, read_table, write_table
from nearid.io.yaml_files import parse_yaml
from nearid.layout import Layout
from nearid.release.cards import Facts, data_card, model_card
from nearid.release.model import attach_head, open_backbone
from nearid.tokens.store import TokenStore

FORMS = ("siglip", "release")
# Columns of distractors that the released sets do not have: how an image was made.
_OURS = re.compile(r"(seed|flag)\d")
# Suffixes of the released sets on the hub (docs/protocol.md 1.4); any other source is named by its id.
_SUFFIXES = {"fluxc": "FluxC", "fluxc_1024": "FluxC_1024", "powerpaint": "PowerPaint", "sdxl": "SDXL"}
_SUFFIXES |= {
    "sdxl_1024": "SDXL_1024",
    "flux": "Flux",
    "flux_1024": "Flux_1024",
    "qwen": "Qwen",
    "qwen_1328": "Qwen_1328",
}


def export_model(layout: Layout, ablation: str, output: Path, form: str = "siglip") -> None:
    """Write the backbone with the trained head of `ablation` in it as a model folder, in float32.

    Args:
        layout: the run.
        ablation: the one whose head is exported.
        output: a folder that does not exist yet.
        form: `siglip` loads with transformers' `SiglipVisionModel`; `release` is the authors' layout.

    Raises:
        UserError: no such head, another backbone than the one it was trained on, or `output` exists.
    """
    if not re.fullmatch(r"[a-z0-9_]+", ablation) or not layout.head_file(ablation).is_file():
        known = sorted(path.parent.name for path in layout.root.glob("heads/*/head.safetensors"))
        raise UserError(
            layout.root, f"no trained head {ablation!r}", f"one of: {', '.join(known) or '(none)'}", "pass --ablation"
        )
    trained = read_json(layout.head_file(ablation, "config.json"))
    _check_backbone(layout, trained["settings"])
    model, processor = attach_head(layout.head(ablation))
    bare = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    prefix = "vision_model." if form == "siglip" else "backbone.vision_model."
    vision = {**model.config.to_diff_dict(), "dtype": "float32"}
    vision.pop("_name_or_path", None)
    config = {**vision, "architectures": ["SiglipVisionModel"]}
    if form == "release":
        config = {
            "architectures": ["NearIDModel"],
            "model_type": "nearid",
            "vision_config": vision,
            "embed_dim": model.config.hidden_size,
            "normalize_embeddings": True,
            "dtype": "float32",
        }
    facts = _collect_facts(layout, ablation, trained["settings"], model)
    with _new_folder(output) as folder:
        write_json(folder / "config.json", config)
        write_json(folder / "preprocessor_config.json", _describe(processor))
        save_file(
            {prefix + name: weight for name, weight in bare.items()}, folder / "model.safetensors", {"format": "pt"}
        )
        (folder / "model.safetensors").chmod(0o644)
        provenance = layout.head_file(ablation, "provenance.json")
        write_json(
            folder / "nearid_run.json",
            {"training": trained, "provenance": read_json(provenance) if provenance.is_file() else None},
        )
        write_text(folder / "README.md", model_card(facts, form))


def export_data(layout: Layout, output: Path) -> list[Path]:
    """Write positives and every source of distractors as data sets in the released layout: a folder each.

    Raises:
        UserError: the run has no positives, or `output` exists.
    """
    positives = sorted(layout.root.glob("data/positives/*.parquet"))
    if not positives:
        raise UserError(layout.root, "no data/positives", "a run whose data was made", "run the stage `data` first")
    run = _read_run(layout)
    note = _describe_data(run)
    sets = {"NearID": (positives, POSITIVES)}
    for folder in sorted(path for path in layout.root.glob("distractors/*") if path.is_dir()):
        shards = [folder / path.name for path in positives if (folder / path.name).is_file()]
        if len(shards) != len(positives):
            raise UserError(
                folder, f"{len(shards)} shards", f"{len(positives)}, as the positives", "finish this source first"
            )
        schema = DISTRACTORS
        for field in [field for field in schema if _OURS.fullmatch(field.name)]:
            schema = schema.remove(schema.get_field_index(field.name))
        sets[f"NearID-{_SUFFIXES.get(folder.name, folder.name)}"] = (shards, schema)
    with _new_folder(output) as target:
        for name, (shards, schema) in sets.items():
            counts = [
                _copy_shard(path, target / name, number, len(shards), schema) for number, path in enumerate(shards)
            ]
            rows, images = (sum(column) for column in zip(*counts, strict=True))
            write_text(target / name / "README.md", data_card(name, rows, schema.names, images, note, "cc-by-4.0"))
    return [output / name for name in sets]


def _copy_shard(source: Path, folder: Path, number: int, count: int, schema: Any) -> tuple[int, int]:
    """Write one shard with the released columns; returns (rows, images other than masks)."""
    table = read_table(source, schema.names)
    columns: dict[str, list[Any]] = {}
    for field in schema:
        values = table[field.name].to_pylist()
        columns[field.name] = [image_bytes(value) for value in values] if field.type == IMAGE else values
    write_table(folder / "data" / f"train-{number:05d}-of-{count:05d}.parquet", columns, schema)
    pictures = [name for name in schema.names if re.fullmatch(r"(images|nimg)\d", name)]
    return table.num_rows, sum(value is not None for name in pictures for value in columns[name])


def _check_backbone(layout: Layout, settings: dict[str, Any]) -> None:
    """Compare the backbone with the tokens that the head was trained on, if these still exist."""
    name = settings["backbone_id"]
    shard = next(iter(sorted(layout.root.glob(f"tokens/{name}/*/*.h5"))), None)
    if shard is None:
        return
    store = TokenStore([shard])
    expected = store.attributes["weights_hash"]
    store.close()
    # Weights are hashed in the precision of the run.
    if expected != open_backbone(BackboneSettings.parse(settings["backbone"])).weights_hash:
        raise UserError(
            f"backbone {settings['backbone']['path']}",
            "other weights than those that the tokens of this run were made with",
            f"the backbone {name} as it was then",
            "restore that backbone, or make the run again",
        )


def _collect_facts(layout: Layout, ablation: str, settings: dict[str, Any], model: Any) -> Facts:
    config = _read_run(layout)
    own = [name for name, entry in config.get("scorers", {}).items() if entry.get("ablation") == ablation]
    scorer = next((name for name in (*own, ablation) if layout.metrics(name).is_file()), None)
    display = config.get("ablations", {}).get(ablation, {}).get("display", ablation)
    return Facts(
        display=display,
        settings=settings,
        run=layout.root.name,
        data=_describe_data(config),
        licence=_find_licence(settings["backbone"]["path"], config),
        metrics=read_json(layout.metrics(scorer)) if scorer else None,
        parameters=(sum(weight.numel() for weight in model.head.parameters()), model.num_parameters()),
    )


def _describe_data(run: dict[str, Any]) -> str:
    """What numbers on the data of `run` mean; empty if that is not known."""
    kind = KINDS.get(run.get("dataset", {}).get("kind", ""))
    return kind.numbers if kind else ""


def _read_run(layout: Layout) -> dict[str, Any]:
    """The config of the run from its manifest; empty if there is none yet."""
    path = layout.paper("manifest.json")
    config: dict[str, Any] = read_json(path)["result"]["config"] if path.is_file() else {}
    return config


def _find_licence(path: str, config: dict[str, Any]) -> str:
    """Licence of a backbone: from its download's entry, or from its own card."""
    if path.startswith("resources/"):
        return str(config.get("downloads", {}).get(path.split("/")[1], {}).get("licence", "other")).lower()
    card = Path(path) / "README.md"
    if card.is_file() and (found := re.match(r"---\n(.*?)\n---", read_text(card), re.DOTALL)):
        head = parse_yaml(found[1], card, "a model card's head: a YAML mapping")
        return str(head.get("license", "other")) if isinstance(head, dict) else "other"
    return "other"


def _describe(processor: Any) -> dict[str, Any]:
    """The processor's settings, with the class name that every version of transformers knows."""
    values = {key: value for key, value in processor.to_dict().items() if value is not None}
    values["image_processor_type"] = re.sub(r"(Pil|Fast)$", "", values["image_processor_type"])
    return values


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """Yield a private folder that becomes `target` once it is complete."""
    if target.exists():
        raise UserError(
            target, "something is there already", "a folder that does not exist yet", "choose another, or remove it"
        )
    private = target.parent / f".{target.name}.partial"
    shutil.rmtree(private, ignore_errors=True)
    private.mkdir(parents=True)
    try:
        yield private
        private.rename(target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(private, ignore_errors=True)
