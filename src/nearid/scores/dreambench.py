"""DreamBench++: similarity of reference and generated image, compared with human ratings (docs/protocol.md 4.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nearid.config.settings.scores import Score, ScoreDreamBench
from nearid.errors import UserError
from nearid.io.hashing import hash_file, hash_json
from nearid.io.images import decode_rgb
from nearid.io.tables import read_table, write_table
from nearid.layout import Layout
from nearid.scores.answers import Answers, answers_path, with_counts
from nearid.scores.correlations import fisher_mean
from nearid.scores.embeddings import Vectors, embed_pixels_each
from nearid.scores.human_alignment import (
    CATEGORIES,
    HEADLINE,
    LIMIT,
    Alignment,
    align,
    align_humans,
    bound_alignment,
    categories_of,
)
from nearid.scores.packs import Job, Key, Pack, each_embeds
from nearid.scores.ratings import (
    HUMANS,
    METHODS,
    Ratings,
    canonical_key,
    method_of,
    read_human_ratings,
    read_release,
)
from nearid.scores.scorers import Embedder, Rated, Shown, load_scorer
from nearid.tokens.collections import Picture

SCHEMA = pa.schema([("method", pa.string()), ("key", pa.string()), ("category", pa.string()), ("score", pa.float64())])
SCALE = 100.0
"""Released metric files hold 100 times the cosine; so do ours."""
DEPTH = 4  # of a run's folder below that of the samples
CHUNK = 64
SAMPLES = "samples"
"""The only part of the scores: DreamBench++ has no sources."""

Json = dict[str, Any]
ImagePairs = dict[str, tuple[Path, Path]]


def score_dreambench(
    settings: ScoreDreamBench,
    layout: Layout,
    output: Path,
    code: str = "",
    along: Sequence[Job] = (),
) -> None:
    """Write the scores of one scorer to `output`: a row per method and key.

    Args:
        settings: of the step.
        layout: of the results folder.
        output: Parquet file to write.
        code: fingerprint of the code; what other code has left behind is not resumed.
        along: scorers of the same backbone; those without current scores are scored in the same pass.

    Raises:
        UserError: samples, ratings or the scorer's files are missing or damaged.
    """
    settings = _from_images(settings)
    scorer = load_scorer(settings, layout)
    if isinstance(scorer, Rated):
        write_table(output, _list_columns(scorer.ratings()), SCHEMA)
        return
    samples = find_samples(layout.raters / "samples" if settings.simulated else Path(settings.path or ""))
    if isinstance(scorer, Embedder):
        files = {path: hash_file(path) for pairs in samples.values() for pair in pairs.values() for path in pair}
        others = [(_from_images(other), its_code) for other, its_code in along]
        with Pack(scorer, settings, code, output, others, layout, "dreambench", _keys(files), SCHEMA) as pack:
            write_table(output, _embed_samples(pack, samples, files), SCHEMA)
            pack.clear()
    else:
        answers = Answers(scorer, answers_path(output), f"{settings.scorer_id}: DreamBench++")
        scores = {method: _ask(answers, method, pairs) for method, pairs in samples.items()}
        write_table(output, _list_columns(scores), with_counts(SCHEMA, answers.counts()))


def _from_images(settings: Score) -> ScoreDreamBench:
    """The settings with tokens computed from images: these are in no collection, so no tokens are cached."""
    return ScoreDreamBench.parse({**settings.given, "tokens": "images"})


def _keys(files: Mapping[Path, str]) -> Key:
    def keys(scorer: Embedder, settings: Score, code: str) -> dict[str, str]:
        return {
            SAMPLES: hash_json([sorted(set(files.values())), scorer.fingerprint([], []), code, dict(settings.given)])
        }

    return keys


def _list_columns(scores: Mapping[str, Ratings]) -> dict[str, Sequence[Any]]:
    rows = [(method, key, scores[method][key]) for method in METHODS for key in sorted(scores[method])]
    return {
        "method": [method for method, _, _ in rows],
        "key": [key for _, key, _ in rows],
        "category": [_category(key) for _, key, _ in rows],
        "score": [score for _, _, score in rows],
    }


def find_samples(folder: Path) -> dict[str, ImagePairs]:
    """Reference and generated image of every key, by method.

    A run is a folder with `src_image/` and `tgt_image/`, whose name starts with the method's in one of two spellings; a
    key is the relative path without extension, `/` replaced by `-`.

    Raises:
        UserError: a method has no run or two, or an image has no counterpart.
    """
    runs: dict[str, list[Path]] = {method: [] for method in METHODS}
    depths = ["/".join(["*"] * depth) for depth in range(1, DEPTH + 1)]
    for sources in sorted(path for depth in depths for path in folder.glob(f"{depth}/src_image")):
        method = method_of(sources.parent.name)
        if method:
            runs[method].append(sources.parent)
    samples = {}
    for method, found in runs.items():
        if len(found) != 1:
            raise UserError(
                folder,
                f"{len(found)} folders of samples of {method}{''.join(f' {path}' for path in found)}",
                "one, with src_image/ and tgt_image/",
                "unpack the samples of DreamBench++ there, or remove the others",
            )
        samples[method] = _pair_images(found[0])
    return samples


def compare_release(folder: Path, category: str) -> Json:
    """Agreement of a release's ratings with the humans', and of the humans with each other, in one category.

    Raises:
        UserError: a file is missing or damaged, or has other keys than the rest.
    """
    humans, scored = read_release(folder)
    report: Json = {"category": category, "categories_rated": categories_of(humans)}
    report["human_human"] = align_humans(humans, category).describe()
    report["scorers"] = {name: align(ratings, humans, category).describe() for name, ratings in scored.items()}
    report["pairs"] = report["human_human"]["pairs"]
    return report


def format_report(report: Json) -> str:
    """The report of `compare_release` as a text table: a row per method, a column per set of ratings."""
    columns = {"human-human": report["human_human"], **report["scorers"]}
    lines = [f"{report['category']}: {report['pairs']} pairs per method"]
    lines.append(" ".join([f"{'':<28}", *(f"{name:>15}" for name in columns)]))
    for row in (*METHODS, "M-H"):
        cells = [
            (entry["m_h"], entry["error"]) if row == "M-H" else tuple(entry["methods"][row].values())
            for entry in columns.values()
        ]
        shown = (f"{value:>8.3f} " + ("      " if error is None else f"±{error:.3f}") for value, error in cells)
        lines.append(" ".join([f"{row:<28}", *shown]).rstrip())
    return "\n".join(lines)


def summarise_dreambench(scores_path: Path, folder: Path, seed: int) -> Json:
    """`m_h` of the headline category with interval and error, and `dreambench`: all categories, of scorer and humans.

    Raises:
        UserError: scores or ratings are missing, or do not have the same keys.
    """
    table = read_table(scores_path, SCHEMA.names)
    scores: dict[str, dict[str, float]] = {method: {} for method in METHODS}
    for row in table.to_pylist():
        scores[row["method"]][row["key"]] = row["score"]
    humans = read_human_ratings(folder / HUMANS)
    rated = categories_of(humans)
    ours = {name: align(scores, humans, name) for name in rated}
    theirs = {name: align_humans(humans, name) for name in rated}
    valid = {name: _count_valid(scores, name) for name in rated}
    entries: Json = {
        "categories": {name: ours[name].describe() | {"scored": valid[name]} for name in rated},
        "humans": {name: theirs[name].describe() for name in rated},
        "all_categories": _over_categories(ours),
    }
    if not valid.get(HEADLINE):
        return {"m_h": None, "dreambench": entries}
    low, high = bound_alignment(scores, humans, HEADLINE, seed)
    headline = ours[HEADLINE]
    return {"m_h": headline.m_h, "m_h_error": headline.error, "m_h_ci": [low, high], "dreambench": entries}


def _over_categories(alignments: Mapping[str, Alignment]) -> float | None:
    # Never one pooled correlation: categories differ in their level (docs/protocol.md 4.6).
    if set(alignments) != set(CATEGORIES):
        return None
    return fisher_mean([alignment.m_h for alignment in alignments.values()], LIMIT)


def _count_valid(scores: Mapping[str, Ratings], category: str) -> int:
    values = [value for ratings in scores.values() for key, value in ratings.items() if _category(key) == category]
    return int(np.isfinite(np.array(values, np.float64)).sum())


def _category(key: str) -> str:
    return next((name for name in CATEGORIES if key.startswith(f"{name}_")), "")


def _pair_images(run: Path) -> ImagePairs:
    sides = []
    for side in ("src_image", "tgt_image"):
        files: dict[str, Path] = {}
        for path in sorted((run / side).rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                key = canonical_key(path.relative_to(run / side).with_suffix("").as_posix().replace("/", "-"))
                if key in files:
                    raise UserError(run / side, f"{files[key].name} and {path.name}", f"one image of {key}", "keep one")
                files[key] = path
        sides.append(files)
    sources, targets = sides
    odd = sorted(set(sources) ^ set(targets))
    if odd:
        raise UserError(run, f"{odd[0]} on one side only ({len(odd)} such)", "pairs", "unpack the samples again")
    return {key: (sources[key], targets[key]) for key in sorted(sources)}


def _embed_samples(
    pack: Pack, samples: Mapping[str, ImagePairs], files: Mapping[Path, str]
) -> Mapping[str, Sequence[Any]]:
    def embed(paths: Sequence[Path]) -> dict[str, NDArray[np.float64]]:
        chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]

        def vectors(scorers: Sequence[Embedder]) -> Sequence[Vectors | UserError]:
            return each_embeds(
                scorers,
                lambda scorer: np.concatenate([scorer.embed_pixels(_Decoded(chunk)) for chunk in chunks]),
                lambda several: _joined([embed_pixels_each(several, _Decoded(chunk)) for chunk in chunks]),
            )

        return {one.name: own.astype(np.float64) for one, own in pack.embed(pack.wanting(SAMPLES), vectors)}

    # Each run has copies of the references: every reference is embedded once.
    references = {files[source]: source for pairs in samples.values() for source, _ in pairs.values()}
    place = {digest: number for number, digest in enumerate(references)}
    shown = embed(list(references.values()))
    scores: dict[str, dict[str, dict[str, float]]] = {name: {} for name in shown}
    for method, pairs in samples.items():
        for name, generated in embed([target for _, target in pairs.values()]).items():
            scores[name][method] = {
                key: SCALE * float(np.dot(shown[name][place[files[source]]], vector))
                for (key, (source, _)), vector in zip(pairs.items(), generated, strict=True)
            }
    for one in pack.wanting(SAMPLES):
        one.made[SAMPLES] = _list_columns(scores[one.name])
    return pack.close()[SAMPLES]


def _joined(chunks: Sequence[Sequence[Vectors | UserError]]) -> list[Vectors | UserError]:
    """Each scorer's vectors of all chunks, or its first error."""
    joined: list[Vectors | UserError] = []
    for parts in zip(*chunks, strict=True):
        error = next((part for part in parts if isinstance(part, UserError)), None)
        joined.append(error or np.concatenate([part for part in parts if not isinstance(part, UserError)]))
    return joined


class _Decoded(Sequence[NDArray[np.uint8]]):
    """Image files as pixels [h, w, 3], decoded on access, so that large ones are never in memory together."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        return decode_rgb(self._paths[index])


def _ask(answers: Answers, method: str, pairs: ImagePairs) -> dict[str, float]:
    def show(side: str, number: int, path: Path) -> Shown:
        return Shown(f"{method} {side}", Picture(str(path), number, 0, path.read_bytes(), None), "full")

    shown = [
        (show("reference", number, source), show("generated", number, target))
        for number, (source, target) in enumerate(pairs.values())
    ]
    return dict(zip(pairs, (SCALE * answers.measure(shown, method)).tolist(), strict=True))
