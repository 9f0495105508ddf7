# What a run gives away; asked for by name: `snakemake … -- exports`.
rule exports:
    input:
        paths(FILES.exports),
    localrule: True


rule export_model:
    input:
        inputs("export_model"),
        untimed("export_model"),
    output:
        directory(str(LAYOUT.exported("{form}", "{ablation}"))),
    log:
        log_of("export_model"),
    benchmark:
        benchmark_of("export_model")
    conda:
        "../../envs/paper.yaml"
    resources:
        mem_mb=memory("export_model"),
        runtime=minutes("export_model"),
    params:
        results=results_folder,
        code=code("export_model"),
    shell:
        "python -m nearid --log {log:q} export {params.results:q} --ablation {wildcards.ablation:q}"
        " --layout {wildcards.form:q} --output {output:q}"


rule export_datasets:
    input:
        inputs("export_datasets"),
        untimed("export_datasets"),
    output:
        directory(str(LAYOUT.exported_data)),
    log:
        log_of("export_datasets"),
    benchmark:
        benchmark_of("export_datasets")
    conda:
        "../../envs/paper.yaml"
    resources:
        mem_mb=memory("export_datasets"),
        runtime=minutes("export_datasets"),
    params:
        results=results_folder,
        code=code("export_datasets"),
    shell:
        "python -m nearid --log {log:q} export {params.results:q} --data --output {output:q}"
