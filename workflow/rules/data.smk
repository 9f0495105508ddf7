rule curate_positives:
    input:
        inputs("curate_positives"),
    output:
        list(map(str, FILES.positives())),
        identities=str(LAYOUT.identities),
        splits=str(LAYOUT.splits),
        dropped=str(LAYOUT.dropped),
        funnel=str(LAYOUT.funnel),
    log:
        log_of("curate_positives"),
    benchmark:
        benchmark_of("curate_positives")
    conda:
        "../../envs/data.yaml"
    threads: 2
    resources:
        mem_mb=memory("curate_positives"),
        runtime=minutes("curate_positives"),
    params:
        results=results_folder,
        settings=settings("curate_positives"),
        code=code("curate_positives"),
    shell:
        "python -m nearid --log {log:q} data curate --results {params.results:q} --workers {threads}"
        " --settings {params.settings:q}"


rule make_raters:
    output:
        directory(str(LAYOUT.raters)),
    log:
        log_of("make_raters"),
    benchmark:
        benchmark_of("make_raters")
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("make_raters"),
        runtime=minutes("make_raters"),
    params:
        results=results_folder,
        settings=settings("make_raters"),
        code=code("make_raters"),
    shell:
        "python -m nearid --log {log:q} data raters --results {params.results:q} --workers {threads}"
        " --settings {params.settings:q}"


rule make_mtg:
    input:
        inputs("make_mtg"),
    output:
        str(LAYOUT.mtg("{split}")),
    log:
        log_of("make_mtg"),
    benchmark:
        benchmark_of("make_mtg")
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("make_mtg"),
        runtime=minutes("make_mtg"),
    params:
        results=results_folder,
        settings=settings("make_mtg"),
        code=code("make_mtg"),
    shell:
        "python -m nearid --log {log:q} data mtg --results {params.results:q} --split {wildcards.split:q}"
        " --workers {threads} --settings {params.settings:q}"
