rule inpaint_shard:
    input:
        # An engine may take its donors from other shards: one job makes them all, so the roster stands for them.
        str(LAYOUT.positives("{shard}")),
        roster(),
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
