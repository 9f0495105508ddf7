# Scorers that read the same tokens are scored together: the first of their jobs reads the tokens for all of them whose
# heads are there, the others find their scores made. Companions are no trigger, as in heads.smk.
rule score_nearid_bench:
    input:
        inputs("score_nearid_bench"),
    output:
        str(LAYOUT.scores("{scorer}", "nearid_bench")),
    log:
        log_of("score_nearid_bench"),
    benchmark:
        benchmark_of("score_nearid_bench")
    conda:
        "../../envs/eval.yaml"
    threads: 1
    resources:
        mem_mb=memory("score_nearid_bench"),
        runtime=minutes("score_nearid_bench"),
        gpu=gpus("score_nearid_bench"),
    params:
        results=results_folder,
        settings=settings("score_nearid_bench"),
        code=code("score_nearid_bench"),
        companions=scored_along("nearid_bench"),
    shell:
        "python -m nearid --log {log:q} scores nearid-bench --results {params.results:q} --scorer {wildcards.scorer:q}"
        " --settings {params.settings:q} --companions {params.companions:q}"


rule score_mtg:
    input:
        inputs("score_mtg"),
    output:
        str(LAYOUT.scores("{scorer}", "mtg")),
    log:
        log_of("score_mtg"),
    benchmark:
        benchmark_of("score_mtg")
    conda:
        "../../envs/eval.yaml"
    threads: 1
    resources:
        mem_mb=memory("score_mtg"),
        runtime=minutes("score_mtg"),
        gpu=gpus("score_mtg"),
    params:
        results=results_folder,
        settings=settings("score_mtg"),
        code=code("score_mtg"),
        companions=scored_along("mtg"),
    shell:
        "python -m nearid --log {log:q} scores mtg --results {params.results:q} --scorer {wildcards.scorer:q}"
        " --settings {params.settings:q} --companions {params.companions:q}"


rule score_dreambench:
    input:
        inputs("score_dreambench"),
    output:
        str(LAYOUT.scores("{scorer}", "dreambench")),
    log:
        log_of("score_dreambench"),
    benchmark:
        benchmark_of("score_dreambench")
    conda:
        "../../envs/eval.yaml"
    threads: 1
    resources:
        mem_mb=memory("score_dreambench"),
        runtime=minutes("score_dreambench"),
        gpu=gpus("score_dreambench"),
    params:
        results=results_folder,
        settings=settings("score_dreambench"),
        code=code("score_dreambench"),
        companions=scored_along("dreambench"),
    shell:
        "python -m nearid --log {log:q} scores dreambench --results {params.results:q} --scorer {wildcards.scorer:q}"
        " --settings {params.settings:q} --companions {params.companions:q}"


rule summarise_scores:
    input:
        inputs("summarise_scores"),
    output:
        str(LAYOUT.metrics("{scorer}")),
    log:
        log_of("summarise_scores"),
    benchmark:
        benchmark_of("summarise_scores")
    conda:
        "../../envs/eval.yaml"
    resources:
        mem_mb=memory("summarise_scores"),
        runtime=minutes("summarise_scores"),
    params:
        results=results_folder,
        settings=settings("summarise_scores"),
        code=code("summarise_scores"),
    shell:
        "python -m nearid --log {log:q} scores summarise --results {params.results:q} --scorer {wildcards.scorer:q}"
        " --settings {params.settings:q}"
