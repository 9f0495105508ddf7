"""`nearid score`: how alike the identities in images are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click


@click.command()
@click.option("--model", required=True, help="A model folder (`nearid export`), a head of a run, or a hub id.")
@click.argument("images", nargs=-1)
@click.option("--reference", help="File, folder, quoted glob, or - for a list on stdin.")
@click.option("--candidates", help="The same; every candidate is compared with every reference.")
@click.option(
    "--pairs", type=click.Choice(["all", "name"]), default="all", show_default=True, help="name: equal names."
)
@click.option(
    "--list",
    "listed",
    metavar="FILE",
    help="Instead: lines of two paths, tab, comma or ; between; - for stdin.",
)
@click.option("--csv", "form", flag_value="csv", help="Print CSV (the default for more than one pair).")
@click.option("--json", "form", flag_value="json", help="Print JSON.")
@click.option("--output", type=click.Path(path_type=Path), help="Write to this file instead.")
@click.option("--batch-size", default=32, show_default=True, type=click.IntRange(min=1))
@click.option("--device", help="cpu, cuda, ...; by default a GPU where there is one.")
def score(
    model: str,
    images: tuple[str, ...],
    reference: str | None,
    candidates: str | None,
    pairs: str,
    listed: str | None,
    form: str | None,
    output: Path | None,
    batch_size: int,
    device: str | None,
) -> None:
    """Similarity of two images A B, or of many: near 1 for the same object, whatever its background.

    Every image is embedded once. An image that cannot be read leaves its pairs without similarity, with the reason; the
    exit code is then 1.
    """
    from nearid.io.files import write_text
    from nearid.release import pairs as many
    from nearid.release.model import load

    stdin = _read_lines("-")
    if images:
        if len(images) != 2 or reference or candidates or listed:
            raise click.UsageError(
                "give two images (or folders, quoted globs) A B, or --reference and --candidates, or --list"
            )
        reference, candidates = images
    if listed:
        if reference or candidates:
            raise click.UsageError("--list comes without --reference and --candidates")
        chosen = many.read_pairs(_read_lines(listed), listed)
    elif reference and candidates:
        if reference == candidates == "-":
            raise click.UsageError("only one of the two can come from stdin")
        if pairs == "name":
            chosen = many.pair_by_name(reference, candidates, stdin)
        else:
            found = [many.find_images(where, stdin) for where in (reference, candidates)]
            chosen = many.pair_all(*found)
    else:
        raise click.UsageError("give two images A B, or --reference and --candidates, or --list")
    rows = many.score_pairs(chosen, load(model, batch_size=batch_size, device=device))
    if form is None and output is None and len(rows) == 1 and rows[0].similarity is not None:
        text = f"{rows[0].similarity:.6f}\n"
    else:
        text = many.format_json(rows) if form == "json" else many.format_csv(rows)
    if output:
        write_text(output, text)
    else:
        click.echo(text, nl=False)
    failed = sum(row.similarity is None for row in rows)
    if failed:
        click.echo(f"{failed} of {len(rows)} pairs have no similarity; the column `problem` says why", err=True)
        sys.exit(1)


def _read_lines(source: str) -> Iterator[str]:
    """Lines of a file or of stdin (`-`), read when the first is needed; file names may be in any encoding."""
    from nearid.io.sheets import decode_text

    with click.open_file(source, "rb") as stream:
        yield from decode_text(stream.read(), source, names=True).split("\n")
