"""A run as a Workflow Run RO-Crate: ro-crate-metadata.json in the results folder, from the manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nearid.io.files import read_json, write_bytes, write_json
from nearid.io.hashing import hash_file
from nearid.io.paths import below
from nearid.layout import Layout

# The profiles that the crate follows (process, workflow, and workflow run).
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
FORMATS = {
    ".csv": "text/csv",
    ".gif": "image/gif",
    ".html": "text/html",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".tex": "application/x-tex",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
}


def write_crate(layout: Layout, workflow: Path) -> None:
    """Copy the workflow into paper/workflow/ and write ro-crate-metadata.json; needs the manifest.

    Args:
        layout: of the results folder.
        workflow: folder with `Snakefile` and `rules/`.
    """
    for path in (workflow / "Snakefile", *sorted((workflow / "rules").glob("*.smk"))):
        write_bytes(layout.paper("workflow") / path.relative_to(workflow), path.read_bytes())
    write_json(layout.crate, describe_crate(read_json(layout.paper("manifest.json")), layout))


def describe_crate(manifest: Mapping[str, Any], layout: Layout) -> Any:
    """The crate's JSON-LD: inputs and artifacts with their hashes, the workflow, and the run that joins them."""
    from rocrate.model.computationalworkflow import ComputationalWorkflow
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    result, run = manifest["result"], manifest["run"]
    name = result["config"]["name"]
    # The version that the profiles are based on; it lacks `sha256`, which the workflow-run terms add.
    crate = ROCrate(gen_preview=False, version="1.1")
    crate.metadata.extra_contexts.append("https://w3id.org/ro/terms/workflow-run/context")
    crate.name = f"NearID reproduction, run {name}"
    crate.description = "Tables, figures and page of one run, with the similarities and heads that they were made from."
    crate.datePublished = run["written"]
    crate.license = "https://spdx.org/licenses/Apache-2.0"
    profiles = [
        crate.add(ContextEntity(crate, id, {"@type": "CreativeWork", "name": title, "version": id.rpartition("/")[2]}))
        for id, title in PROFILES.items()
    ]
    crate.root_dataset["conformsTo"] = profiles

    def add_files(files: Mapping[str, str | None]) -> list[Any]:
        return [
            crate.add_file(dest_path=path, properties=_describe_file(path, digest))
            for path, digest in files.items()
            if digest is not None
        ]

    folder = layout.paper("workflow")
    # Snakemake leaves a hidden time stamp in folders that it made.
    copies = {
        str(path.relative_to(layout.root)): hash_file(path) for path in sorted(folder.rglob("[!.]*")) if path.is_file()
    }
    main = str((folder / "Snakefile").relative_to(layout.root))
    snakemake = crate.add(
        ContextEntity(
            crate,
            "https://w3id.org/workflowhub/workflow-ro-crate#snakemake",
            {"@type": "ComputerLanguage", "name": "Snakemake", "url": {"@id": "https://snakemake.github.io"}},
        )
    )
    workflow = crate.add(
        ComputationalWorkflow(crate, dest_path=main, properties={"name": "Snakefile", "sha256": copies.pop(main)})
    )
    workflow["programmingLanguage"] = snakemake
    parts = add_files(copies)
    if parts:
        workflow["hasPart"] = parts
    crate.mainEntity = workflow
    versions = {"name": "Snakemake", "version": result["versions"].get("snakemake") or "unknown"}
    crate.add(ContextEntity(crate, "#snakemake", {"@type": "SoftwareApplication", **versions}))
    action = {
        "@type": "CreateAction",
        "name": f"Run {name}",
        "endTime": run["written"],
        "description": f"Code {result['code']['commit']}, config hash {result['config_hash']}",
    }
    done = crate.add(ContextEntity(crate, "#run", action))
    done["instrument"] = workflow
    done["object"] = add_files(result["inputs"])
    done["result"] = add_files(result["artifacts"])
    crate.root_dataset["mentions"] = [done]
    content = crate.metadata.generate()
    # The library does not order the entities.
    content["@graph"].sort(
        key=lambda entity: (entity["@id"] != "ro-crate-metadata.json", entity["@id"] != "./", entity["@id"])
    )
    return content


def find_altered(layout: Layout, manifest: Mapping[str, Any]) -> list[str]:
    """Paths of files that differ from what the crate says; empty if there is no crate."""
    if not layout.crate.is_file():
        return []
    try:
        content = json.loads(layout.crate.read_text())
        files = {entity["@id"]: entity["sha256"] for entity in content["@graph"] if "sha256" in entity}
    except (ValueError, KeyError, TypeError):
        return [layout.crate.name]
    prefix = str(layout.paper("workflow").relative_to(layout.root))
    altered = [
        path
        for path, digest in files.items()
        if path.startswith(prefix)
        and (not below(layout.root, path).is_file() or hash_file(below(layout.root, path)) != digest)
    ]
    if altered:
        return altered
    text = json.dumps(describe_crate(manifest, layout), indent=2, sort_keys=True, allow_nan=False) + "\n"
    return [] if layout.crate.read_text() == text else [layout.crate.name]


def _describe_file(path: str, digest: str) -> dict[str, str]:
    return {
        "name": path,
        "sha256": digest,
        "encodingFormat": FORMATS.get(Path(path).suffix, "application/octet-stream"),
    }
