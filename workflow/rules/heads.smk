# Heads that draw the same batches are a pack (`training.pack`): the first of their jobs trains all of them that are not up
# to date, the others find their head finished and write it. The other heads of a pack are no trigger: their change leaves
# this head as it is (Snakemake records no param that depends on resources).
rule train_head:
    input:
        RULES.inputs("train_head"),
    output:
        head=costly(LAYOUT.head_file("{ablation}")),
        config=str(LAYOUT.head_file("{ablation}", "config.json")),
        log=str(LAYOUT.head_file("{ablation}", "log.jsonl")),
        provenance=str(LAYOUT.head_file("{ablation}", "provenance.json")),
    log:
        RULES.log("train_head"),
    benchmark:
        RULES.benchmark("train_head")
    wildcard_constraints:
        ablation=those(config["ablations"], FILES.keeps_states, False),
    conda:
        "../../envs/train.yaml"
    # One thread: repeatable to the bit, and heads train side by side.
    threads: 1
    resources:
        mem_mb=RULES.memory("train_head"),
        runtime=RULES.minutes("train_head"),
        gpu=RULES.gpus("train_head"),
        # With `--resources packed_heads=1` (slurm/config.yaml) no job waits on a node for the one that trains its pack.
        packed_heads=RULES.packed_heads,
    params:
        results=RULES.results,
        settings=RULES.settings("train_head"),
        code=RULES.code("train_head"),
        along=RULES.trained_along,
        launcher=RULES.launcher,
    # exec: a cluster's warning ends no shell before the training has saved its state.
    shell:
        "exec {params.launcher:q} python -m nearid --log {log:q} heads train --results {params.results:q} --ablation {wildcards.ablation:q}"
        " --settings {params.settings:q} --along {params.along:q}"


# The same step for a head that also keeps its states for the time lapse: an output that only some heads have.
use rule train_head as train_head_with_timelapse with:
    output:
        head=costly(LAYOUT.head_file("{ablation}")),
        config=str(LAYOUT.head_file("{ablation}", "config.json")),
        log=str(LAYOUT.head_file("{ablation}", "log.jsonl")),
        provenance=str(LAYOUT.head_file("{ablation}", "provenance.json")),
        timelapse=str(LAYOUT.head_file("{ablation}", "timelapse.safetensors")),
    log:
        RULES.log("train_head_with_timelapse"),
    benchmark:
        RULES.benchmark("train_head_with_timelapse")
    wildcard_constraints:
        ablation=those(config["ablations"], FILES.keeps_states, True),
