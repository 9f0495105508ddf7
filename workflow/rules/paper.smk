# Steps of a second or two run where Snakemake runs: a cluster job for each would cost more than its work.
rule make_table:
    input:
        RULES.inputs("make_table"),
    output:
        report(
            str(LAYOUT.table("{table}", "csv")),
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        str(LAYOUT.table("{table}", "tex")),
        str(LAYOUT.table("{table}", "md")),
    log:
        RULES.log("make_table"),
    benchmark:
        RULES.benchmark("make_table")
    localrule: True
    conda:
        "../../envs/paper.yaml"
    resources:
        mem_mb=RULES.memory("make_table"),
        runtime=RULES.minutes("make_table"),
    params:
        results=RULES.results,
        settings=RULES.settings("make_table"),
        code=RULES.code("make_table"),
    shell:
        "python -m nearid --log {log:q} paper table --results {params.results:q} --table {wildcards.table:q}"
        " --settings {params.settings:q}"


rule compute_figure:
    input:
        RULES.inputs("compute_figure"),
    output:
        str(LAYOUT.figure_data("{figure}")),
    log:
        RULES.log("compute_figure"),
    benchmark:
        RULES.benchmark("compute_figure")
    group:
        RULES.group("compute_figure")
    conda:
        "../../envs/paper.yaml"
    threads: 1
    resources:
        mem_mb=RULES.memory("compute_figure"),
        runtime=RULES.minutes("compute_figure"),
        in_turn=1,
    params:
        results=RULES.results,
        settings=RULES.settings("compute_figure"),
        code=RULES.code("compute_figure"),
    shell:
        "python -m nearid --log {log:q} paper figure-data --results {params.results:q} --figure {wildcards.figure:q}"
        " --settings {params.settings:q}"


rule plot_figure:
    input:
        RULES.inputs("plot_figure"),
    output:
        str(LAYOUT.figure("{figure}", "pdf")),
        report(
            str(LAYOUT.figure("{figure}", "png")),
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}", "form": "picture"},
        ),
    log:
        RULES.log("plot_figure"),
    benchmark:
        RULES.benchmark("plot_figure")
    wildcard_constraints:
        figure=those(config["paper"]["figures"], FILES.is_animated, False),
    localrule: True
    conda:
        "../../envs/paper.yaml"
    threads: 1
    resources:
        mem_mb=RULES.memory("plot_figure"),
        runtime=RULES.minutes("plot_figure"),
    params:
        results=RULES.results,
        settings=RULES.settings("plot_figure"),
        code=RULES.code("plot_figure"),
    shell:
        "python -m nearid --log {log:q} paper figure --results {params.results:q} --figure {wildcards.figure:q}"
        " --settings {params.settings:q}"


# The same step for an animated figure.
use rule plot_figure as plot_animated_figure with:
    output:
        str(LAYOUT.figure("{figure}", "pdf")),
        report(
            str(LAYOUT.figure("{figure}", "png")),
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}", "form": "picture"},
        ),
        report(
            str(LAYOUT.figure("{figure}", "gif")),
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}", "form": "animation"},
        ),
    log:
        RULES.log("plot_animated_figure"),
    benchmark:
        RULES.benchmark("plot_animated_figure")
    wildcard_constraints:
        figure=those(config["paper"]["figures"], FILES.is_animated, True),


rule compare_with_paper:
    input:
        RULES.inputs("compare_with_paper"),
    output:
        report(
            str(LAYOUT.paper("comparison.csv")),
            caption="../report/comparison.rst",
            category="Comparison",
            labels={"table": "all"},
        ),
    log:
        RULES.log("compare_with_paper"),
    benchmark:
        RULES.benchmark("compare_with_paper")
    localrule: True
    conda:
        "../../envs/paper.yaml"
    resources:
        mem_mb=RULES.memory("compare_with_paper"),
        runtime=RULES.minutes("compare_with_paper"),
    params:
        results=RULES.results,
        settings=RULES.settings("compare_with_paper"),
        code=RULES.code("compare_with_paper"),
    shell:
        "python -m nearid --log {log:q} paper compare --results {params.results:q} --settings {params.settings:q}"


rule show_identities:
    input:
        RULES.inputs("show_identities"),
    output:
        directory(str(LAYOUT.paper("identities"))),
    log:
        RULES.log("show_identities"),
    benchmark:
        RULES.benchmark("show_identities")
    conda:
        "../../envs/paper.yaml"
    threads: 1
    resources:
        mem_mb=RULES.memory("show_identities"),
        runtime=RULES.minutes("show_identities"),
    params:
        results=RULES.results,
        settings=RULES.settings("show_identities"),
        code=RULES.code("show_identities"),
    shell:
        "python -m nearid --log {log:q} paper identities --results {params.results:q} --settings {params.settings:q}"


rule make_page:
    input:
        RULES.inputs("make_page"),
        ancient(RULES.untimed("make_page")),
    output:
        str(LAYOUT.paper("index.html")),
    log:
        RULES.log("make_page"),
    benchmark:
        RULES.benchmark("make_page")
    localrule: True
    conda:
        "../../envs/paper.yaml"
    resources:
        mem_mb=RULES.memory("make_page"),
        runtime=RULES.minutes("make_page"),
    params:
        results=RULES.results,
        settings=RULES.settings("make_page"),
        code=RULES.code("make_page"),
    shell:
        "python -m nearid --log {log:q} paper page --results {params.results:q} --settings {params.settings:q}"


rule write_summary:
    input:
        RULES.inputs("write_summary"),
    output:
        str(LAYOUT.paper("summary.txt")),
    log:
        RULES.log("write_summary"),
    benchmark:
        RULES.benchmark("write_summary")
    localrule: True
    conda:
        "../../envs/paper.yaml"
    resources:
        mem_mb=RULES.memory("write_summary"),
        runtime=RULES.minutes("write_summary"),
    params:
        results=RULES.results,
        settings=RULES.settings("write_summary"),
        code=RULES.code("write_summary"),
    shell:
        "python -m nearid --log {log:q} paper summary --results {params.results:q} --settings {params.settings:q}"


rule write_manifest:
    input:
        RULES.inputs("write_manifest"),
    output:
        str(LAYOUT.paper("manifest.json")),
        str(LAYOUT.paper("provenance.js")),
        str(LAYOUT.paper("costs.csv")),
    log:
        RULES.log("write_manifest"),
    benchmark:
        RULES.benchmark("write_manifest")
    localrule: True
    conda:
        "../../envs/paper.yaml"
    resources:
        mem_mb=RULES.memory("write_manifest"),
        runtime=RULES.minutes("write_manifest"),
    params:
        results=RULES.results,
        settings=RULES.settings("write_manifest"),
        code=RULES.code("write_manifest"),
    shell:
        "python -m nearid --log {log:q} paper manifest --results {params.results:q} --settings {params.settings:q}"


rule write_crate:
    input:
        RULES.inputs("write_crate"),
    output:
        str(LAYOUT.crate),
        directory(str(LAYOUT.paper("workflow"))),
    log:
        RULES.log("write_crate"),
    benchmark:
        RULES.benchmark("write_crate")
    localrule: True
    conda:
        "../../envs/paper.yaml"
    resources:
        mem_mb=RULES.memory("write_crate"),
        runtime=RULES.minutes("write_crate"),
    params:
        results=RULES.results,
        code=RULES.code("write_crate"),
    shell:
        "python -m nearid --log {log:q} paper crate --results {params.results:q}"
