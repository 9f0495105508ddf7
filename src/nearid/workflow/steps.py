"""The table of steps: their names, what each runs, reads and writes, and what it requests from a cluster.

A new step takes an entry here, a function for its settings, a rule and a command (CONTRIBUTING.md).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nearid.config import paper_settings as of_paper
from nearid.config import steps as of
from nearid.workflow.files import HEAD_FILES, TABLE_FORMS, TIMELAPSE, Files
from nearid.workflow.step import Needs, Step, Variant

STAGES = ("fetch", "data", "distractors", "tokens", "heads", "scores", "paper", "export")


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
            local=True,
            settings=lambda config, ids: config["downloads"][ids["download"]],
            job="{download}",
            outputs=lambda files: [Path("resources/{download}/fetched.json")],
        ),
        Step(
            name="curate_positives",
            stage="data",
            function="cli.data.curate",
            formats=("records",),
            settings=of.curate_positives,
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
            function="cli.data.mtg",
            formats=("part_edits",),
            settings=of.make_mtg,
            job="{split}",
            outputs=lambda files: [files.layout.mtg("{split}")],
            needs=Needs(4000, 60),
            reads=_READS,
        ),
        Step(
            name="make_raters",
            stage="data",
            function="cli.data.raters",
            settings=of.make_raters,
            outputs=lambda files: [files.layout.raters],
            needs=Needs(4000, 60),
        ),
        Step(
            name="inpaint_part",
            stage="distractors",
            function="cli.distractors.inpaint",
            formats=("records", "distractors"),
            settings=of.inpaint_shard,
            job="{source}/{shard}.{part}of{parts}",
            inputs=Files.of_part,
            outputs=lambda files: [files.layout.painted("{source}", "{shard}", "{part}", "{parts}")],
            needs=Needs(4000, 30),
            reads=_READS,
        ),
        Step(
            name="inpaint_shard",
            stage="distractors",
            function="cli.distractors.inpaint",
            formats=("records", "distractors"),
            settings=of.inpaint_shard,
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
            function="cli.distractors.quality",
            formats=("records", "distractors"),
            settings=of.make_quality_sheet,
            job="{source}",
            inputs=Files.of_quality_sheet,
            outputs=lambda files: [files.layout.quality("{source}", form) for form in ("json", "png")],
            needs=Needs(8000, 120),
            rate="figure",
        ),
        Step(
            name="extract_tokens",
            stage="tokens",
            function="cli.tokens.extract",
            formats=("records", "part_edits", "distractors", "tokens"),
            settings=of.extract_tokens,
            job="{backbone}/{collection}/{shard}",
            inputs=Files.of_tokens,
            outputs=lambda files: [files.layout.tokens("{backbone}", "{collection}", "{shard}")],
            needs=Needs(4000, 60),
            reads=_READS,
        ),
        Step(
            name="train_head",
            stage="heads",
            function="cli.heads.train",
            formats=("records", "part_edits", "distractors", "tokens", "head"),
            settings=of.train_head,
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
            function="cli.scores.nearid_bench",
            formats=("records", "distractors", "tokens", "head", "scores"),
            settings=of.score_nearid_bench,
            job="{scorer}",
            inputs=Files.of_nearid_bench,
            outputs=_scores("nearid_bench"),
            needs=Needs(4000, 480),
            reads=_READS,
        ),
        Step(
            name="score_mtg",
            stage="scores",
            function="cli.scores.mtg",
            formats=("part_edits", "tokens", "head", "scores"),
            settings=of.score_mtg,
            job="{scorer}",
            inputs=Files.of_mtg_scores,
            outputs=_scores("mtg"),
            needs=Needs(4000, 120),
            reads=_READS,
        ),
        Step(
            name="score_dreambench",
            stage="scores",
            function="cli.scores.dreambench",
            formats=("head", "scores"),
            settings=of.score_dreambench,
            job="{scorer}",
            inputs=Files.of_dreambench,
            outputs=_scores("dreambench"),
            needs=Needs(4000, 120),
            reads=_READS,
        ),
        Step(
            name="summarise_scores",
            stage="scores",
            function="cli.scores.summarise",
            formats=("scores", "metrics"),
            settings=of.summarise_scores,
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
            local=True,
            function="cli.paper.table",
            formats=("metrics",),
            settings=of_paper.make_table,
            job="{table}",
            inputs=Files.of_table,
            outputs=lambda files: [files.layout.table("{table}", form) for form in TABLE_FORMS],
        ),
        Step(
            name="compute_figure",
            stage="paper",
            function="cli.paper.figure_data",
            formats=("records", "part_edits", "distractors", "tokens", "head", "scores", "metrics"),
            settings=of_paper.compute_figure,
            job="{figure}",
            inputs=Files.of_figure,
            outputs=lambda files: [files.layout.figure_data("{figure}")],
            needs=Needs(4000, 30),
            reads=_READS,
            rate="figure",
            size=1e6,
        ),
        Step(
            name="plot_figure",
            stage="paper",
            local=True,
            function="cli.paper.figure",
            settings=of_paper.plot_figure,
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
            local=True,
            function="cli.paper.compare",
            formats=("metrics",),
            settings=of_paper.compare_with_paper,
            inputs=Files.of_comparison,
            outputs=_paper("comparison.csv"),
            size=5e4,
        ),
        Step(
            name="show_identities",
            stage="paper",
            function="cli.paper.identities",
            formats=("records", "distractors", "scores"),
            settings=of_paper.show_identities,
            inputs=Files.of_browser,
            outputs=_paper("identities"),
            needs=Needs(4000, 30),
            rate="figure",
        ),
        Step(
            name="make_page",
            stage="paper",
            local=True,
            function="cli.paper.page",
            formats=("records", "metrics"),
            settings=of_paper.make_page,
            inputs=Files.of_page,
            # The page only links to the figures' files: a new plot must not make the page again.
            ancient=Files.figures,
            outputs=_paper("index.html"),
            reads=("own",),
            size=5e4,
        ),
        Step(
            name="write_summary",
            stage="paper",
            local=True,
            function="cli.paper.summary",
            formats=("metrics",),
            settings=of_paper.write_summary,
            inputs=Files.metrics,
            outputs=_paper("summary.txt"),
            reads=("own",),
            size=5e4,
        ),
        Step(
            name="write_manifest",
            stage="paper",
            local=True,
            function="cli.paper.manifest",
            settings=of_paper.write_manifest,
            inputs=Files.of_manifest,
            outputs=_paper("manifest.json", "provenance.js", "costs.csv"),
            size=5e4,
        ),
        Step(
            name="write_crate",
            stage="paper",
            local=True,
            function="cli.paper.crate",
            inputs=Files.of_crate,
            outputs=lambda files: [files.layout.crate, files.layout.paper("workflow")],
            size=1e5,
        ),
        Step(
            name="export_model",
            stage="export",
            function="release.export.export_model",
            formats=("head", "metrics"),
            job="{form}/{ablation}",
            inputs=Files.of_model,
            # The card takes names and licence from the manifest; a newer manifest must not export the model again.
            ancient=lambda files, **ids: files.of_crate(),
            outputs=lambda files: [files.layout.exported("{form}", "{ablation}")],
            needs=Needs(4000, 15),
        ),
        Step(
            name="export_datasets",
            stage="export",
            function="release.export.export_data",
            formats=("records", "distractors"),
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
