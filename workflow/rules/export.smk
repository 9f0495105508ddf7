# What a run gives away; asked for by name: `snakemake … -- exports`.
rule exports:
    input:
        exported_models,
        str(LAYOUT.exported_data),
    localrule: True


rule export_model:
    input:
        exported_head,
        # The card takes names and licence from it; its times must not make the model anew.
        ancient(str(LAYOUT.paper("manifest.json"))),
    output:
        directory(str(LAYOUT.exported("{form}", "{ablation}"))),
    log:
        log_of("export", "export_model", "{form}/{ablation}"),
    benchmark:
        benchmark_of("export", "export_model", "{form}/{ablation}")
    wildcard_constraints:
        form="siglip|release",
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
        positives(),
        distractors(SELECT["sources"]),
        ancient(str(LAYOUT.paper("manifest.json"))),
    output:
        directory(str(LAYOUT.exported_data)),
    log:
        log_of("export", "export_datasets"),
    benchmark:
        benchmark_of("export", "export_datasets")
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
