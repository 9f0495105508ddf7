# A shard whose painting takes longer than `painting_minutes` is painted in parts, which are separate jobs. They keep
# finished images in the shard's undeclared progress folder; a marker file says that a part is done.
rule inpaint_part:
    input:
        RULES.inputs("inpaint_part"),
    output:
        temp(touch(str(LAYOUT.painted("{source}", "{shard}", "{part}", "{parts}")))),
    log:
        RULES.log("inpaint_part"),
    benchmark:
        RULES.benchmark("inpaint_part")
    conda:
        "../../envs/diffusion.yaml"
    threads: 1
    resources:
        mem_mb=RULES.memory("inpaint_part"),
        runtime=RULES.minutes("inpaint_part"),
        gpu=RULES.gpus("inpaint_part"),
    params:
        results=RULES.results,
        settings=RULES.settings("inpaint_part"),
        code=RULES.code("inpaint_part"),
    shell:
        "python -m nearid --log {log:q} distractors inpaint --results {params.results:q} --source {wildcards.source:q}"
        " --shard {wildcards.shard:q} --part {wildcards.part:q}/{wildcards.parts:q} --settings {params.settings:q}"


# Paints a shard, or joins its painted parts.
rule inpaint_shard:
    input:
        RULES.inputs("inpaint_shard"),
    output:
        shard=costly(LAYOUT.distractors("{source}", "{shard}")),
        report=str(LAYOUT.distractor_report("{source}", "{shard}")),
    log:
        RULES.log("inpaint_shard"),
    benchmark:
        RULES.benchmark("inpaint_shard")
    # Before all other jobs that may run: joining a shard frees the space of its parts.
    priority: 1
    group:
        RULES.group("inpaint_shard")
    conda:
        "../../envs/diffusion.yaml"
    threads: 1
    resources:
        mem_mb=RULES.memory("inpaint_shard"),
        runtime=RULES.minutes("inpaint_shard"),
        gpu=RULES.gpus("inpaint_shard"),
        in_turn=1,
    params:
        results=RULES.results,
        settings=RULES.settings("inpaint_shard"),
        code=RULES.code("inpaint_shard"),
        join=RULES.joined_parts,
    shell:
        "python -m nearid --log {log:q} distractors inpaint --results {params.results:q} --source {wildcards.source:q}"
        " --shard {wildcards.shard:q} {params.join:q} --settings {params.settings:q}"


rule make_quality_sheet:
    input:
        RULES.inputs("make_quality_sheet"),
    output:
        numbers=str(LAYOUT.quality("{source}", "json")),
        sheet=str(LAYOUT.quality("{source}", "png")),
    log:
        RULES.log("make_quality_sheet"),
    benchmark:
        RULES.benchmark("make_quality_sheet")
    conda:
        "../../envs/diffusion.yaml"
    threads: 1
    resources:
        mem_mb=RULES.memory("make_quality_sheet"),
        runtime=RULES.minutes("make_quality_sheet"),
    params:
        results=RULES.results,
        settings=RULES.settings("make_quality_sheet"),
        code=RULES.code("make_quality_sheet"),
    shell:
        "python -m nearid --log {log:q} distractors quality --results {params.results:q} --source {wildcards.source:q}"
        " --settings {params.settings:q}"


# Made only on request: snakemake --configfile config/demo.yaml -- quality_sheets
rule quality_sheets:
    input:
        RULES.paths(FILES.quality_sheets),
    localrule: True
