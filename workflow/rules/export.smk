# Models and data sets to give away; made only on request: `snakemake … -- exports`.
rule exports:
    input:
        RULES.paths(FILES.exports),
    localrule: True


rule export_model:
    input:
        RULES.inputs("export_model"),
        ancient(RULES.untimed("export_model")),
    output:
        directory(str(LAYOUT.exported("{form}", "{ablation}"))),
    log:
        RULES.log("export_model"),
    benchmark:
        RULES.benchmark("export_model")
    conda:
        "../../envs/paper.yaml"
    resources:
        mem_mb=RULES.memory("export_model"),
        runtime=RULES.minutes("export_model"),
    params:
        results=RULES.results,
        code=RULES.code("export_model"),
    shell:
        "python -m nearid --log {log:q} export {params.results:q} --ablation {wildcards.ablation:q}"
        " --layout {wildcards.form:q} --output {output:q}"


rule export_datasets:
    input:
        RULES.inputs("export_datasets"),
        ancient(RULES.untimed("export_datasets")),
    output:
        directory(str(LAYOUT.exported_data)),
    log:
        RULES.log("export_datasets"),
    benchmark:
        RULES.benchmark("export_datasets")
    conda:
        "../../envs/paper.yaml"
    resources:
        mem_mb=RULES.memory("export_datasets"),
        runtime=RULES.minutes("export_datasets"),
    params:
        results=RULES.results,
        code=RULES.code("export_datasets"),
    shell:
        "python -m nearid --log {log:q} export {params.results:q} --data --output {output:q}"
