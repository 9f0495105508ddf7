# A shard whose painting takes longer than `painting_minutes` is painted in parts: jobs of their own, which keep finished
# images beside each other in the shard's undeclared progress folder. A mark says that a part is done.
rule inpaint_part:
    input:
        # An engine may take its donors from other shards: one job makes them all, and the roster with them.
        str(LAYOUT.positives("{shard}")),
        fetched("inpaint_shard"),
        own_files("inpaint_shard"),
    output:
        temp(touch(str(LAYOUT.painted("{source}", "{shard}", "{part}", "{parts}")))),
    log:
        log_of("distractors", "inpaint_part", "{source}/{shard}.{part}of{parts}"),
    benchmark:
        benchmark_of("distractors", "inpaint_part", "{source}/{shard}.{part}of{parts}")
    conda:
        "../../envs/diffusion.yaml"
    threads: 1
    resources:
        mem_mb=memory("inpaint_part"),
        runtime=minutes("inpaint_part"),
        gpu=gpus("inpaint_part"),
    params:
        results=results_folder,
        settings=settings("inpaint_shard"),
        code=code("inpaint_shard"),
    shell:
        "python -m nearid --log {log:q} distractors inpaint --results {params.results:q} --source {wildcards.source:q}"
        " --shard {wildcards.shard:q} --part {wildcards.part:q}/{wildcards.parts:q} --settings {params.settings:q}"


# Paints a shard, or puts together what parts have painted.
rule inpaint_shard:
    input:
        str(LAYOUT.positives("{shard}")),
        fetched("inpaint_shard"),
        own_files("inpaint_shard"),
        parts=painted_parts,
    output:
        shard=costly(LAYOUT.distractors("{source}", "{shard}")),
        report=str(LAYOUT.distractor_report("{source}", "{shard}")),
    log:
        log_of("distractors", "inpaint_shard", "{source}/{shard}"),
    benchmark:
        benchmark_of("distractors", "inpaint_shard", "{source}/{shard}")
    # First of all that may run: the images of a shard that is put together are no longer there twice.
    priority: 1
    conda:
        "../../envs/diffusion.yaml"
    threads: 1
    resources:
        mem_mb=memory("inpaint_shard"),
        runtime=minutes("inpaint_shard"),
        gpu=gpus("inpaint_shard"),
    params:
        results=results_folder,
        settings=settings("inpaint_shard"),
        code=code("inpaint_shard"),
        join=joined_parts,
    shell:
        "python -m nearid --log {log:q} distractors inpaint --results {params.results:q} --source {wildcards.source:q}"
        " --shard {wildcards.shard:q} {params.join:q} --settings {params.settings:q}"


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
        mem_mb=memory("make_quality_sheet"),
        runtime=minutes("make_quality_sheet"),
    params:
        results=results_folder,
        settings=settings("make_quality_sheet"),
        code=code("make_quality_sheet"),
    shell:
        "python -m nearid --log {log:q} distractors quality --results {params.results:q} --source {wildcards.source:q}"
        " --settings {params.settings:q}"


# Asked for by name, not part of what a run makes: snakemake --configfile config/demo.yaml -- quality_sheets
rule quality_sheets:
    input:
        [str(LAYOUT.quality(source, "png")) for source in SELECT["sources"]],
    localrule: True
