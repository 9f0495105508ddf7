# What takes a second or two runs where Snakemake runs: a cluster job each would cost more than the work.
rule make_table:
    input:
        inputs("make_table"),
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
        log_of("make_table"),
    benchmark:
        benchmark_of("make_table")
    localrule: True
    conda:
        "../../envs/paper.yaml"
    resources:
        mem_mb=memory("make_table"),
        runtime=minutes("make_table"),
    params:
        results=results_folder,
        settings=settings("make_table"),
        code=code("make_table"),
    shell:
        "python -m nearid --log {log:q} paper table --results {params.results:q} --table {wildcards.table:q}"
        " --settings {params.settings:q}"


rule compute_figure:
    input:
        inputs("compute_figure"),
    output:
        str(LAYOUT.figure_data("{figure}")),
    log:
        log_of("compute_figure"),
    benchmark:
        benchmark_of("compute_figure")
    conda:
        "../../envs/paper.yaml"
    threads: 1
    resources:
        mem_mb=memory("compute_figure"),
        runtime=minutes("compute_figure"),
    params:
        results=results_folder,
        settings=settings("compute_figure"),
        code=code("compute_figure"),
    shell:
        "python -m nearid --log {log:q} paper figure-data --results {params.results:q} --figure {wildcards.figure:q}"
        " --settings {params.settings:q}"


rule plot_figure:
    input:
        inputs("plot_figure"),
    output:
        str(LAYOUT.figure("{figure}", "pdf")),
        report(
            str(LAYOUT.figure("{figure}", "png")),
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}", "form": "picture"},
        ),
    log:
        log_of("plot_figure"),
    benchmark:
        benchmark_of("plot_figure")
    wildcard_constraints:
        figure=those(config["paper"]["figures"], FILES.is_animated, False),
    localrule: True
    conda:
        "../../envs/paper.yaml"
    threads: 1
    resources:
        mem_mb=memory("plot_figure"),
        runtime=minutes("plot_figure"),
    params:
        results=results_folder,
        settings=settings("plot_figure"),
        code=code("plot_figure"),
    shell:
        "python -m nearid --log {log:q} paper figure --results {params.results:q} --figure {wildcards.figure:q}"
        " --settings {params.settings:q}"


# The same step for a figure that moves.
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
        log_of("plot_animated_figure"),
    benchmark:
        benchmark_of("plot_animated_figure")
    wildcard_constraints:
        figure=those(config["paper"]["figures"], FILES.is_animated, True),


rule compare_with_paper:
    input:
        inputs("compare_with_paper"),
    output:
        report(
            str(LAYOUT.paper("comparison.csv")),
            caption="../report/comparison.rst",
            category="Comparison",
            labels={"table": "all"},
        ),
    log:
        log_of("compare_with_paper"),
    benchmark:
        benchmark_of("compare_with_paper")
    localrule: True
    conda:
        "../../envs/paper.yaml"
    resources:
        mem_mb=memory("compare_with_paper"),
        runtime=minutes("compare_with_paper"),
    params:
        results=results_folder,
        settings=settings("compare_with_paper"),
        code=code("compare_with_paper"),
    shell:
        "python -m nearid --log {log:q} paper compare --results {params.results:q} --settings {params.settings:q}"


rule show_identities:
    input:
        inputs("show_identities"),
    output:
        directory(str(LAYOUT.paper("identities"))),
    log:
        log_of("show_identities"),
    benchmark:
        benchmark_of("show_identities")
    conda:
        "../../envs/paper.yaml"
    threads: 1
    resources:
        mem_mb=memory("show_identities"),
        runtime=minutes("show_identities"),
    params:
        results=results_folder,
        settings=settings("show_identities"),
        code=code("show_identities"),
    shell:
        "python -m nearid --log {log:q} paper identities --results {params.results:q} --settings {params.settings:q}"


rule make_page:
    input:
        inputs("make_page"),
        untimed("make_page"),
    output:
        str(LAYOUT.paper("index.html")),
    log:
        log_of("make_page"),
    benchmark:
        benchmark_of("make_page")
    localrule: True
    conda:
        "../../envs/paper.yaml"
    resources:
        mem_mb=memory("make_page"),
        runtime=minutes("make_page"),
    params:
        results=results_folder,
        settings=settings("make_page"),
        code=code("make_page"),
    shell:
        "python -m nearid --log {log:q} paper page --results {params.results:q} --settings {params.settings:q}"


rule write_summary:
    input:
        inputs("write_summary"),
    output:
        str(LAYOUT.paper("summary.txt")),
    log:
        log_of("write_summary"),
    benchmark:
        benchmark_of("write_summary")
    localrule: True
    conda:
        "../../envs/paper.yaml"
    resources:
        mem_mb=memory("write_summary"),
        runtime=minutes("write_summary"),
    params:
        results=results_folder,
        settings=settings("write_summary"),
        code=code("write_summary"),
    shell:
        "python -m nearid --log {log:q} paper summary --results {params.results:q} --settings {params.settings:q}"


rule write_manifest:
    input:
        inputs("write_manifest"),
    output:
        str(LAYOUT.paper("manifest.json")),
        str(LAYOUT.paper("provenance.js")),
        str(LAYOUT.paper("costs.csv")),
    log:
        log_of("write_manifest"),
    benchmark:
        benchmark_of("write_manifest")
    localrule: True
    conda:
        "../../envs/paper.yaml"
    resources:
        mem_mb=memory("write_manifest"),
        runtime=minutes("write_manifest"),
    params:
        results=results_folder,
        settings=settings("write_manifest"),
        code=code("write_manifest"),
    shell:
        "python -m nearid --log {log:q} paper manifest --results {params.results:q} --settings {params.settings:q}"


rule write_crate:
    input:
        inputs("write_crate"),
    output:
        str(LAYOUT.crate),
        directory(str(LAYOUT.paper("workflow"))),
    log:
        log_of("write_crate"),
    benchmark:
        benchmark_of("write_crate")
    localrule: True
    conda:
        "../../envs/paper.yaml"
    resources:
        mem_mb=memory("write_crate"),
        runtime=minutes("write_crate"),
    params:
        results=results_folder,
        code=code("write_crate"),
    shell:
        "python -m nearid --log {log:q} paper crate --results {params.results:q}"
