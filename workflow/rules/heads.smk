# Heads that draw the same batches are a pack (`training.pack`): the first of their jobs trains all heads of the pack
# that are not up to date, and the jobs of the others only write their finished heads. A change of the other heads does
# not re-run this one, since Snakemake records no param that depends on resources.
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
    # One thread, so that results are repeatable to the bit; heads train side by side.
    threads: 1
    resources:
        mem_mb=RULES.memory("train_head"),
        runtime=RULES.minutes("train_head"),
        gpu=RULES.gpus("train_head"),
        # With `--resources packed_heads=1` (slurm/config.yaml) no job occupies a node while another trains its pack.
        packed_heads=RULES.packed_heads,
    params:
        results=RULES.results,
        settings=RULES.settings("train_head"),
        code=RULES.code("train_head"),
        along=RULES.trained_along,
        launcher=RULES.launcher,
    # exec, so that the cluster's warning signal does not end a shell before training has saved its state.
    shell:
        "exec {params.launcher:q} python -m nearid --log {log:q} heads train --results {params.results:q} --ablation {wildcards.ablation:q}"
        " --settings {params.settings:q} --along {params.along:q}"


# The same step for heads that also keep their states for the time lapse, an output that only some heads have.
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
