rule inpaint_shard:
    input:
        # An engine may take its donors from other shards: one job makes them all, and the roster with them.
        str(LAYOUT.positives("{shard}")),
        fetched("inpaint_shard"),
    output:
        shard=costly(LAYOUT.distractors("{source}", "{shard}")),
        report=str(LAYOUT.distractor_report("{source}", "{shard}")),
    log:
        log_of("distractors", "inpaint_shard", "{source}/{shard}"),
    benchmark:
        benchmark_of("distractors", "inpaint_shard", "{source}/{shard}")
    conda:
        "../../envs/diffusion.yaml"
    threads: 1
    resources:
        mem_mb=painting_memory,
        runtime=painting_minutes,
        gpu=gpus("inpaint_shard"),
    params:
        results=results_folder,
        settings=settings("inpaint_shard"),
        code=code("inpaint_shard"),
    shell:
        "python -m nearid --log {log} distractors inpaint --results {params.results} --source {wildcards.source}"
        " --shard {wildcards.shard} --settings {params.settings:q}"


rule make_quality_sheet:
    input:
        positives(),
        shards=lambda wildcards: distractors([wildcards.source]),
        reports=lambda wildcards: [
            str(LAYOUT.distractor_report(wildcards.source, shard)) for shard in SHARDS
        ],
    output:
        numbers=str(LAYOUT.quality("{source}", "json")),
        sheet=str(LAYOUT.quality("{source}", "png")),
    log:
        log_of("distractors", "make_quality_sheet", "{source}"),
    benchmark:
        benchmark_of("distractors", "make_quality_sheet", "{source}")
    conda:
        "../../envs/diffusion.yaml"
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime=minutes(120),
    params:
        results=results_folder,
        settings=settings("make_quality_sheet"),
        code=code("make_quality_sheet"),
    shell:
        "python -m nearid --log {log} distractors quality --results {params.results} --source {wildcards.source}"
        " --settings {params.settings:q}"


# Asked for by name, not part of what a run makes: snakemake --configfile config/demo.yaml -- quality_sheets
rule quality_sheets:
    input:
        [str(LAYOUT.quality(source, "png")) for source in SELECT["sources"]],
    localrule: True
