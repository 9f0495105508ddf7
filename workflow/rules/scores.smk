# Scorers that read the same tokens are scored together: the first of their jobs reads the tokens for all of them whose
# heads exist, and the others find their scores made. As in heads.smk, a change of the others does not re-run this one.
rule score_nearid_bench:
    input:
        RULES.inputs("score_nearid_bench"),
    output:
        str(LAYOUT.scores("{scorer}", "nearid_bench")),
    log:
        RULES.log("score_nearid_bench"),
    benchmark:
        RULES.benchmark("score_nearid_bench")
    group:
        RULES.group("score_nearid_bench")
    conda:
        "../../envs/eval.yaml"
    threads: 1
    resources:
        mem_mb=RULES.memory("score_nearid_bench"),
        runtime=RULES.minutes("score_nearid_bench"),
        gpu=RULES.gpus("score_nearid_bench"),
        in_turn=1,
    params:
        results=RULES.results,
        settings=RULES.settings("score_nearid_bench"),
        code=RULES.code("score_nearid_bench"),
        along=RULES.scored_along("nearid_bench"),
    shell:
        "python -m nearid --log {log:q} scores nearid-bench --results {params.results:q} --scorer {wildcards.scorer:q}"
        " --settings {params.settings:q} --along {params.along:q}"


rule score_mtg:
    input:
        RULES.inputs("score_mtg"),
    output:
        str(LAYOUT.scores("{scorer}", "mtg")),
    log:
        RULES.log("score_mtg"),
    benchmark:
        RULES.benchmark("score_mtg")
    group:
        RULES.group("score_mtg")
    conda:
        "../../envs/eval.yaml"
    threads: 1
    resources:
        mem_mb=RULES.memory("score_mtg"),
        runtime=RULES.minutes("score_mtg"),
        gpu=RULES.gpus("score_mtg"),
        in_turn=1,
    params:
        results=RULES.results,
        settings=RULES.settings("score_mtg"),
        code=RULES.code("score_mtg"),
        along=RULES.scored_along("mtg"),
    shell:
        "python -m nearid --log {log:q} scores mtg --results {params.results:q} --scorer {wildcards.scorer:q}"
        " --settings {params.settings:q} --along {params.along:q}"


rule score_dreambench:
    input:
        RULES.inputs("score_dreambench"),
    output:
        str(LAYOUT.scores("{scorer}", "dreambench")),
    log:
        RULES.log("score_dreambench"),
    benchmark:
        RULES.benchmark("score_dreambench")
    group:
        RULES.group("score_dreambench")
    conda:
        "../../envs/eval.yaml"
    threads: 1
    resources:
        mem_mb=RULES.memory("score_dreambench"),
        runtime=RULES.minutes("score_dreambench"),
        gpu=RULES.gpus("score_dreambench"),
        in_turn=1,
    params:
        results=RULES.results,
        settings=RULES.settings("score_dreambench"),
        code=RULES.code("score_dreambench"),
        along=RULES.scored_along("dreambench"),
    shell:
        "python -m nearid --log {log:q} scores dreambench --results {params.results:q} --scorer {wildcards.scorer:q}"
        " --settings {params.settings:q} --along {params.along:q}"


rule summarise_scores:
    input:
        RULES.inputs("summarise_scores"),
    output:
        str(LAYOUT.metrics("{scorer}")),
    log:
        RULES.log("summarise_scores"),
    benchmark:
        RULES.benchmark("summarise_scores")
    group:
        RULES.group("summarise_scores")
    conda:
        "../../envs/eval.yaml"
    resources:
        mem_mb=RULES.memory("summarise_scores"),
        runtime=RULES.minutes("summarise_scores"),
        in_turn=1,
    params:
        results=RULES.results,
        settings=RULES.settings("summarise_scores"),
        code=RULES.code("summarise_scores"),
    shell:
        "python -m nearid --log {log:q} scores summarise --results {params.results:q} --scorer {wildcards.scorer:q}"
        " --settings {params.settings:q}"
