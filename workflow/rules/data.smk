rule curate_positives:
    input:
        RULES.inputs("curate_positives"),
    output:
        list(map(str, FILES.positives())),
        identities=str(LAYOUT.identities),
        splits=str(LAYOUT.splits),
        dropped=str(LAYOUT.dropped),
        funnel=str(LAYOUT.funnel),
    log:
        RULES.log("curate_positives"),
    benchmark:
        RULES.benchmark("curate_positives")
    conda:
        "../../envs/data.yaml"
    threads: 2
    resources:
        mem_mb=RULES.memory("curate_positives"),
        runtime=RULES.minutes("curate_positives"),
    params:
        results=RULES.results,
        settings=RULES.settings("curate_positives"),
        code=RULES.code("curate_positives"),
    shell:
        "python -m nearid --log {log:q} data curate --results {params.results:q} --workers {threads}"
        " --settings {params.settings:q}"


rule make_raters:
    output:
        directory(str(LAYOUT.raters)),
    log:
        RULES.log("make_raters"),
    benchmark:
        RULES.benchmark("make_raters")
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=RULES.memory("make_raters"),
        runtime=RULES.minutes("make_raters"),
    params:
        results=RULES.results,
        settings=RULES.settings("make_raters"),
        code=RULES.code("make_raters"),
    shell:
        "python -m nearid --log {log:q} data raters --results {params.results:q} --workers {threads}"
        " --settings {params.settings:q}"


rule make_mtg:
    input:
        RULES.inputs("make_mtg"),
    output:
        str(LAYOUT.mtg("{split}")),
    log:
        RULES.log("make_mtg"),
    benchmark:
        RULES.benchmark("make_mtg")
    group:
        RULES.group("make_mtg")
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=RULES.memory("make_mtg"),
        runtime=RULES.minutes("make_mtg"),
        in_turn=1,
    params:
        results=RULES.results,
        settings=RULES.settings("make_mtg"),
        code=RULES.code("make_mtg"),
    shell:
        "python -m nearid --log {log:q} data mtg --results {params.results:q} --split {wildcards.split:q}"
        " --workers {threads} --settings {params.settings:q}"
