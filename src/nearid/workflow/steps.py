"""The table of steps: what each is called, what it runs, reads, leaves and asks of a cluster.

A new step is an entry here, its settings (`nearid.config.steps`) beside the others', and its rule (CONTRIBUTING.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from nearid.workflow.files import HEAD_FILES, TABLE_FORMS, TIMELAPSE, Files

STAGES = ("fetch", "data", "distractors", "tokens", "heads", "scores", "paper", "export")
WILDCARDS = {
    **dict.fromkeys(
        ("source", "backbone", "collection", "ablation", "scorer", "table", "figure", "download"), "[a-z0-9_]+"
    ),
    "split": "train|test",
    "form": "siglip|release",
    "shard": r"\d{3}",
    "part": r"\d+",
    "parts": r"\d+",
}
"""What the ids of a job look like, as regular expressions."""


@dataclass(frozen=True)
class Needs:
    """What the first attempt of a job asks for.

    Attributes:
        memory_mb: of the machine's own memory.
        minutes: a limit, with room; never less than what its kind of job has taken.
        gpus: how many.
        gpu_gb: of the GPU's memory, weights and the largest pass together; 0 without a GPU.
    """

    memory_mb: int
    minutes: int
    gpus: int = 0
    gpu_gb: int = 0


def _nothing(files: Files, **ids: str) -> list[Path]:
    return []


@dataclass(frozen=True)
class Variant:
    """A second rule of a step, for jobs that leave one file more: `output`, `when` it is so."""

    rule: str
    output: Callable[[Files], Path]
    when: Callable[..., bool]


@dataclass(frozen=True)
class Step:
    """One step of the workflow, which runs as a job for each of its ids.

    Attributes:
        name: of its rule.
        stage: folder of its log.
        job: a job's name, with its ids as wildcards.
        outputs: what a job leaves, with its ids as wildcards.
        inputs: what a job of these ids reads, beside downloads and files of the user.
        ancient: what of it counts by being there, and not by its time.
        reads: which paths in its settings are inputs: `downloads`, `own` files of the user.
        settings_of: the step whose settings it has, where those are not its own.
        variant: its other rule.
        needs: what a job asks for at least; more by the work that it has (`nearid.cluster.needs`).
        rate, size: key of its seconds (`nearid.cluster.rates`) and bytes written, where they are the same for all jobs.
    """

    name: str
    stage: str
    outputs: Callable[[Files], Iterable[Path]]
    inputs: Callable[..., Iterable[Path]] = _nothing
    job: str = "all"
    ancient: Callable[..., Iterable[Path]] = _nothing
    reads: tuple[str, ...] = ()
    settings_of: str = ""
    variant: Variant | None = None
    needs: Needs = Needs(1000, 10)
    rate: str = "table"
    size: float = 1e4


def _scores(benchmark: str) -> Callable[[Files], list[Path]]:
    return lambda files: [files.layout.scores("{scorer}", benchmark)]


def _paper(*names: str) -> Callable[[Files], list[Path]]:
    return lambda files: [files.layout.paper(name) for name in names]


_READS = ("downloads", "own")
STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        Step(
            name="fetch_download",
            stage="fetch",
            job="{download}",
            outputs=lambda files: [Path("resources/{download}/fetched.json")],
        ),
        Step(
            name="curate_positives",
            stage="data",
            outputs=lambda files: [
                *files.positives(),
                *(getattr(files.layout, name) for name in ("identities", "splits", "dropped", "funnel")),
            ],
            needs=Needs(8000, 240),
            reads=_READS,
        ),
        Step(
            name="make_mtg",
            stage="data",
            job="{split}",
            outputs=lambda files: [files.layout.mtg("{split}")],
            needs=Needs(4000, 60),
            reads=_READS,
        ),
        Step(
            name="make_raters",
            stage="data",
            outputs=lambda files: [files.layout.raters],
            needs=Needs(4000, 60),
        ),
        Step(
            name="inpaint_part",
            stage="distractors",
            job="{source}/{shard}.{part}of{parts}",
            inputs=Files.of_part,
            outputs=lambda files: [files.layout.painted("{source}", "{shard}", "{part}", "{parts}")],
            needs=Needs(4000, 30),
            reads=_READS,
            settings_of="inpaint_shard",
        ),
        Step(
            name="inpaint_shard",
            stage="distractors",
            job="{source}/{shard}",
            inputs=Files.of_shard,
            outputs=lambda files: [
                files.layout.distractors("{source}", "{shard}"),
                files.layout.distractor_report("{source}", "{shard}"),
            ],
            needs=Needs(4000, 30),
            reads=_READS,
        ),
        Step(
            name="make_quality_sheet",
            stage="distractors",
            job="{source}",
            inputs=Files.of_quality_sheet,
            outputs=lambda files: [files.layout.quality("{source}", form) for form in ("json", "png")],
            needs=Needs(8000, 120),
            rate="figure",
        ),
        Step(
            name="extract_tokens",
            stage="tokens",
            job="{backbone}/{collection}/{shard}",
            inputs=Files.of_tokens,
            outputs=lambda files: [files.layout.tokens("{backbone}", "{collection}", "{shard}")],
            needs=Needs(4000, 60),
            reads=_READS,
        ),
        Step(
            name="train_head",
            stage="heads",
            job="{ablation}",
            inputs=Files.of_head,
            outputs=lambda files: [
                files.layout.head_file("{ablation}", name) for name in (*HEAD_FILES, "log.jsonl", "provenance.json")
            ],
            needs=Needs(8000, 720),
            reads=_READS,
            variant=Variant(
                "train_head_with_timelapse",
                output=lambda files: files.layout.head_file("{ablation}", TIMELAPSE),
                when=Files.keeps_states,
            ),
        ),
        Step(
            name="score_nearid_bench",
            stage="scores",
            job="{scorer}",
            inputs=Files.of_nearid_bench,
            outputs=_scores("nearid_bench"),
            needs=Needs(4000, 480),
            reads=_READS,
        ),
        Step(
            name="score_mtg",
            stage="scores",
            job="{scorer}",
            inputs=Files.of_mtg_scores,
            outputs=_scores("mtg"),
            needs=Needs(4000, 120),
            reads=_READS,
        ),
        Step(
            name="score_dreambench",
            stage="scores",
            job="{scorer}",
            inputs=Files.of_dreambench,
            outputs=_scores("dreambench"),
            needs=Needs(4000, 120),
            reads=_READS,
        ),
        Step(
            name="summarise_scores",
            stage="scores",
            job="{scorer}",
            inputs=Files.of_summary,
            outputs=lambda files: [files.layout.metrics("{scorer}")],
            needs=Needs(2000, 15),
            reads=_READS,
            rate="summarise",
            size=2e4,
        ),
        Step(
            name="make_table",
            stage="paper",
            job="{table}",
            inputs=Files.of_table,
            outputs=lambda files: [files.layout.table("{table}", form) for form in TABLE_FORMS],
        ),
        Step(
            name="compute_figure",
            stage="paper",
            job="{figure}",
            inputs=Files.of_figure,
            outputs=lambda files: [files.layout.figure_data("{figure}")],
            needs=Needs(4000, 30),
            reads=("own",),
            rate="figure",
            size=1e6,
        ),
        Step(
            name="plot_figure",
            stage="paper",
            job="{figure}",
            inputs=Files.of_plot,
            outputs=lambda files: [files.layout.figure("{figure}", form) for form in ("pdf", "png")],
            needs=Needs(2000, 10),
            variant=Variant(
                "plot_animated_figure",
                output=lambda files: files.layout.figure("{figure}", "gif"),
                when=Files.is_animated,
            ),
            rate="figure",
            size=2e6,
        ),
        Step(
            name="compare_with_paper",
            stage="paper",
            inputs=Files.of_comparison,
            outputs=_paper("comparison.csv"),
            size=5e4,
        ),
        Step(
            name="show_identities",
            stage="paper",
            inputs=Files.of_browser,
            outputs=_paper("identities"),
            needs=Needs(4000, 30),
            rate="figure",
        ),
        Step(
            name="make_page",
            stage="paper",
            inputs=Files.of_page,
            # The page links to the figures' files: a new look must not make it anew.
            ancient=Files.figures,
            outputs=_paper("index.html"),
            size=5e4,
        ),
        Step(
            name="write_summary",
            stage="paper",
            inputs=Files.metrics,
            outputs=_paper("summary.txt"),
            size=5e4,
        ),
        Step(
            name="write_manifest",
            stage="paper",
            inputs=Files.of_manifest,
            outputs=_paper("manifest.json", "provenance.js", "costs.csv"),
            size=5e4,
        ),
        Step(
            name="write_crate",
            stage="paper",
            inputs=Files.of_crate,
            outputs=lambda files: [files.layout.crate, files.layout.paper("workflow")],
            size=1e5,
        ),
        Step(
            name="export_model",
            stage="export",
            job="{form}/{ablation}",
            inputs=Files.of_model,
            # The card takes names and licence from the manifest; its times must not make the model anew.
            ancient=lambda files, **ids: files.of_crate(),
            outputs=lambda files: [files.layout.exported("{form}", "{ablation}")],
            needs=Needs(4000, 15),
        ),
        Step(
            name="export_datasets",
            stage="export",
            inputs=Files.of_datasets,
            ancient=lambda files, **ids: files.of_crate(),
            outputs=lambda files: [files.layout.exported_data],
            needs=Needs(8000, 240),
        ),
        # Not part of a run: the demo's backbone is shipped.
        Step(
            name="pretrain_backbone",
            stage="tokens",
            outputs=lambda files: [],
            needs=Needs(6000, 480),
        ),
    )
}
RULES: dict[str, Step] = STEPS | {step.variant.rule: step for step in STEPS.values() if step.variant}
"""The step of each rule."""
