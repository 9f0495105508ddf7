"""Which files each step, training, scorer, figure and table of a config reads.

A file is not listed if a listed one comes from the same job or depends on it: some ten thousand more inputs would cost
every dry run and every cluster job many seconds.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

from nearid.config.accepted import ACCEPTED
from nearid.config.gaps import needs_identities
from nearid.config.painting import parts_of_shard
from nearid.config.steps import (
    backbone_of,
    benchmarks_of,
    compared_collections,
    drawn_collections,
    mix_of,
    simulated_raters,
    step_settings,
    token_shards,
    training_of,
)
from nearid.config.types import Config
from nearid.layout import Layout, shard_ids

TABLE_FORMS = ("csv", "tex", "md")
CLOSING = ("index.html", "manifest.json", "summary.txt")
HEAD_FILES = ("head.safetensors", "config.json")
TIMELAPSE = "timelapse.safetensors"


class Files:
    """Paths by purpose. They follow from the config alone, but for the number of parts a shard was painted in.

    Methods used in `nearid.workflow.steps` take the ids of a job, which are the wildcards of its rule.

    Args:
        config: checked and complete.
        layout: of its results.
    """

    def __init__(self, config: Config, layout: Layout) -> None:
        self.config, self.layout, self.select = config, layout, config["select"]
        self.parts = functools.cache(functools.partial(parts_of_shard, config, layout))
        self._tokens_of = functools.cache(self._list_tokens)

    @functools.cached_property
    def shards(self) -> list[str]:
        """Ids of the data set's shards."""
        return shard_ids(self.config["dataset"]["shards"])

    # data
    def positives(self) -> list[Path]:
        """The rows of the data set, shard by shard."""
        return [self.layout.positives(shard) for shard in self.shards]

    def identities(self) -> list[Path]:
        """The table of identities and their splits; nothing if the config makes nothing from them."""
        return [self.layout.identities, self.layout.splits] if needs_identities(self.config) else []

    def dropped_records(self) -> list[Path]:
        """The records that curation dropped, with reasons."""
        return [self.layout.dropped] if needs_identities(self.config) else []

    # distractors
    def distractors(self, *sources: str) -> list[Path]:
        """All shards of these sources; of all selected sources by default."""
        return [
            self.layout.distractors(source, shard)
            for source in sources or self.select["sources"]
            for shard in self.shards
        ]

    def reports(self, *sources: str) -> list[Path]:
        """The reports of their shards."""
        return [
            self.layout.distractor_report(source, shard)
            for source in sources or self.select["sources"]
            for shard in self.shards
        ]

    def of_part(self, source: str, shard: str, part: str, parts: str) -> list[Path]:
        """The shard's positives; they stand for all shards and the identities, which the same job makes."""
        return [self.layout.positives(shard)]

    def of_shard(self, source: str, shard: str) -> list[Path]:
        """The shard's positives, and the marker files of its painted parts."""
        parts = self.parts(source, shard)
        marks = [self.layout.painted(source, shard, part, parts) for part in range(1, parts + 1)] if parts > 1 else []
        return [self.layout.positives(shard), *marks]

    def of_quality_sheet(self, source: str) -> list[Path]:
        """Positives, distractors and reports."""
        return [*self.positives(), *self.distractors(source), *self.reports(source)]

    def quality_sheets(self) -> list[Path]:
        """Sheets of all selected sources; made only on request."""
        return [self.layout.quality(source, "png") for source in self.select["sources"]]

    # tokens
    def tokens(self, backbone: str, collections: Iterable[str]) -> list[Path]:
        """All shards of these collections."""
        return [path for collection in collections for path in self._tokens_of(backbone, collection)]

    def _list_tokens(self, backbone: str, collection: str) -> list[Path]:
        shards = token_shards(self.config, backbone, collection)
        return [self.layout.tokens(backbone, collection, shard) for shard in shards]

    def images(self, collection: str, shards: Iterable[str] | None = None) -> list[Path]:
        """Image shards of a collection: the positives', or a source's, which depend on the positives."""
        return [
            self.layout.positives(shard) if collection == "positives" else self.layout.distractors(collection, shard)
            for shard in shards or self.shards
        ]

    def of_tokens(self, backbone: str, collection: str, shard: str) -> list[Path]:
        """The images of a collection. Masks are in the positives, on which these depend."""
        if collection.startswith("mtg_"):
            return [self.layout.mtg(collection.removeprefix("mtg_"))]
        ids = {"backbone": backbone, "collection": collection, "shard": shard}
        return self.images(collection, step_settings("extract_tokens", self.config, **ids)["shards"])

    # heads
    def of_head(self, ablation: str) -> list[Path]:
        """Tokens of all that an ablation draws from, or images if training computes the tokens."""
        training = training_of(self.config, ablation)
        collections = drawn_collections(self.config, ablation)
        if training["tokens"] == "cached":
            feed = self.tokens(training["backbone"], collections)
        else:
            feed = [path for name in collections if name != "mtg_train" for path in self.images(name)]
        # The oracle's severity comes from the part-edit set's masks.
        edits = [self.layout.mtg("train")] if mix_of(self.config, ablation)["mtg_repeats"] else []
        return [*feed, *edits, *self.identities()]

    def keeps_states(self, ablation: str) -> bool:
        """Whether a head's states are kept for the time lapse."""
        return bool(training_of(self.config, ablation)["keep_every_steps"])

    def head(self, ablation: str) -> list[Path]:
        """Weights and config of a head."""
        return [self.layout.head_file(ablation, name) for name in HEAD_FILES]

    def kept_states(self, ablation: str) -> list[Path]:
        """Its states for the time lapse, if they are kept."""
        return [self.layout.head_file(ablation, TIMELAPSE)] if self.keeps_states(ablation) else []

    # scores
    def scored_head(self, scorer: str) -> list[Path]:
        """Files of the head that a scorer uses, with the kept states if the scorer names a step."""
        entry = self.config["scorers"][scorer]
        if "ablation" not in entry:
            return []
        return [*self.head(entry["ablation"]), *(self.kept_states(entry["ablation"]) if "step" in entry else [])]

    def of_nearid_bench(self, scorer: str) -> list[Path]:
        """Tokens if the scorer reads them, else images; its head; the identities."""
        seen = self._tokens_seen(scorer, "nearid_bench") or [*self.positives(), *self.distractors()]
        return [*seen, *self.scored_head(scorer), *self.identities()]

    def of_mtg_scores(self, scorer: str) -> list[Path]:
        """Tokens if the scorer reads them; its head; the part edits."""
        return [*self._tokens_seen(scorer, "mtg"), *self.scored_head(scorer), self.layout.mtg("test")]

    def of_dreambench(self, scorer: str) -> list[Path]:
        """Its head and the simulated ratings; the pictures of DreamBench++ itself are the user's files."""
        return [*self.scored_head(scorer), *self.simulated_ratings(scorer)]

    def simulated_ratings(self, scorer: str) -> list[Path]:
        """The folder of simulated raters, if a scorer is compared with them."""
        rated = "dreambench" in benchmarks_of(self.config, scorer) and simulated_raters(self.config)
        return [self.layout.raters] if rated else []

    def of_summary(self, scorer: str) -> list[Path]:
        """The scores, and the simulated ratings that they are compared with, if any."""
        return [*self.scores(scorer), *self.simulated_ratings(scorer)]

    def _tokens_seen(self, scorer: str, benchmark: str) -> list[Path]:
        backbone = backbone_of(self.config, scorer)
        return self.tokens(backbone, compared_collections(self.config, benchmark)) if backbone else []

    def scores(self, scorer: str) -> list[Path]:
        """Similarities of every benchmark that a scorer takes part in."""
        return [self.layout.scores(scorer, benchmark) for benchmark in benchmarks_of(self.config, scorer)]

    def nearid_bench_scores(self) -> list[Path]:
        """Similarities of all scorers that take part in NearID-bench."""
        scorers = [name for name in self.select["scorers"] if "nearid_bench" in benchmarks_of(self.config, name)]
        return [self.layout.scores(scorer, "nearid_bench") for scorer in scorers]

    def metrics(self, scorers: Iterable[str] | None = None) -> list[Path]:
        """Metrics of these scorers, by default of all selected ones."""
        return [self.layout.metrics(scorer) for scorer in (self.select["scorers"] if scorers is None else scorers)]

    # paper
    def of_data_table(self) -> list[Path]:
        """What the data set's table counts."""
        edits = ("train", "test") if "mtg" in self.select["benchmarks"] else ()
        return [*self.identities(), self.layout.dropped, *self.reports(), *map(self.layout.mtg, edits)]

    def of_table(self, table: str) -> list[Path]:
        """Metrics of a table's scorers, and of those whose M-H it borrows; for the data set's table, the data."""
        if table == "data":
            return self.of_data_table()
        run = step_settings("make_table", self.config, table=table)["run"]
        return self.metrics(sorted({who[key] for who in run["scorers"] for key in ("id", "m_h_from") if key in who}))

    def of_figure(self, figure: str) -> list[Path]:
        """What a figure is computed from: its entry's `needs`."""
        entry = self.config["paper"]["figures"][figure]
        sources, scorers = entry["sources"] or self.select["sources"], entry["scorers"] or self.select["scorers"]
        files: list[Path] = []
        if "images" in entry["needs"]:
            files += [*self.positives(), *self.identities(), *self.distractors(*sources)]
            files += [self.layout.mtg("test")] if "mtg" in self.select["benchmarks"] else []
        if "tokens" in entry["needs"]:
            ablation = entry["ablation"]
            backbone = training_of(self.config, ablation)["backbone"]
            files += [*self.identities(), *self.tokens(backbone, ["positives", sources[0]]), *self.head(ablation)]
            files += self.kept_states(ablation) if entry["animate"] else []
        if "scores" in entry["needs"]:
            files += [path for scorer in scorers for path in self.scores(scorer)]
        if "metrics" in entry["needs"]:
            files += self.metrics(scorers)
        if "training_log" in entry["needs"]:
            names = entry["ablations"] or self.select["ablations"]
            files += [self.layout.head_file(name, "log.jsonl") for name in names]
        return sorted(set(files))

    def of_plot(self, figure: str) -> list[Path]:
        """The figure's data alone."""
        return [self.layout.figure_data(figure)]

    def is_animated(self, figure: str) -> bool:
        """Whether a figure is animated."""
        return bool(self.config["paper"]["figures"][figure]["animate"])

    def of_comparison(self) -> list[Path]:
        """The files that are compared with the paper's numbers."""
        return [*self.metrics(), *(self.of_data_table() if "data" in self.select["tables"] else [])]

    def of_browser(self) -> list[Path]:
        """What the page's browser of identities shows."""
        return [*self.positives(), *self.identities(), *self.distractors(), *self.nearid_bench_scores()]

    def of_page(self) -> list[Path]:
        """What the page shows, except the figures, to which it links."""
        return [*self.of_comparison(), *self.tables(), self.layout.paper("comparison.csv"), *self.dropped_records()]

    def of_manifest(self) -> list[Path]:
        """What the manifest describes, and the record of accepted results if there is one."""
        heads = [path for ablation in self.select["ablations"] for path in self.head(ablation)]
        shown = [*self.tables(), *self.figures(), *self.browser(), *self.told()]
        accepted = [path for path in [self.layout.root / ACCEPTED] if path.is_file()]
        return [*shown, *self.metrics(), *heads, *self.identities(), *accepted]

    def of_crate(self) -> list[Path]:
        """The manifest."""
        return [self.layout.paper("manifest.json")]

    def tables(self) -> list[Path]:
        """All forms of the selected tables."""
        return [self.layout.table(table, form) for table in self.select["tables"] for form in TABLE_FORMS]

    def figures(self) -> list[Path]:
        """All forms of the selected figures."""
        still = [self.layout.figure(figure, form) for figure in self.select["figures"] for form in ("pdf", "png")]
        moving = [self.layout.figure(figure, "gif") for figure in self.select["figures"] if self.is_animated(figure)]
        return [*still, *moving]

    def figure_data(self) -> list[Path]:
        """What the selected figures plot."""
        return [self.layout.figure_data(figure) for figure in self.select["figures"]]

    def told(self) -> list[Path]:
        """The comparison with the paper, the page and the summary."""
        return [self.layout.paper(name) for name in ("comparison.csv", "index.html", "summary.txt")]

    def browser(self) -> list[Path]:
        """The page's browser of identities, where there is something to browse."""
        return [self.layout.paper("identities")] if self.nearid_bench_scores() else []

    def everything(self) -> list[Path]:
        """All that a run of the config makes."""
        closing = [self.layout.paper(name) for name in CLOSING]
        return [*self.tables(), *self.figures(), *self.metrics(), *closing, self.layout.crate]

    # export
    def exports(self) -> list[Path]:
        """Every trained head in both layouts, and the data sets."""
        models = [
            self.layout.exported(form, name) for form in ("siglip", "release") for name in self.select["ablations"]
        ]
        return [*models, self.layout.exported_data]

    def of_model(self, form: str, ablation: str) -> list[Path]:
        """A head, and the metrics that its card shows."""
        scorers = [name for name in self.select["scorers"] if self.config["scorers"][name].get("ablation") == ablation]
        return [*self.head(ablation), *self.metrics(scorers)]

    def of_datasets(self) -> list[Path]:
        """Positives and distractors."""
        return [*self.positives(), *self.distractors()]
