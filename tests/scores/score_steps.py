"""The scoring steps, called with settings as a rule passes them, without those that only other benchmarks read."""

from nearid.config.settings.scores import LocalJudge, ScoreDreamBench, ScoreMTG, ScoreNearIDBench, SummariseScores
from nearid.scores import dreambench, mtg, nearid_bench, summary
from nearid.scores.judging import local


def score_nearid_bench(settings, layout, output, code="", along=()):
    others = [(ScoreNearIDBench.parse(other), its_code) for other, its_code in along]
    nearid_bench.score_nearid_bench(ScoreNearIDBench.parse(settings), layout, output, code, others)


def score_mtg(settings, layout, output, code="", along=()):
    others = [(ScoreMTG.parse(of_mtg(other)), its_code) for other, its_code in along]
    mtg.score_mtg(ScoreMTG.parse(of_mtg(settings)), layout, output, code, along=others)


def score_dreambench(settings, layout, output, code="", along=()):
    others = [(ScoreDreamBench.parse(other), its_code) for other, its_code in along]
    dreambench.score_dreambench(ScoreDreamBench.parse(settings), layout, output, code, others)


def summarise(settings, layout):
    summary.summarise(SummariseScores.parse(settings), layout)


def of_mtg(settings):
    """Settings of NearID-bench as those of MTG."""
    return {key: value for key, value in settings.items() if key not in ("sources", "split")}


def local_judge(folder, **entry):
    return local.Judge(LocalJudge(kind="vlm_judge", model=str(folder), **entry))
