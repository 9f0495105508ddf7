# Heads that draw the same batches learn in one job, which leaves each of them one step before its result. It skips those
# whose results are up to date.
rule train_pack:
    input:
        training_files,
        roster(),
        fetched("train_pack"),
    output:
        report=str(LAYOUT.pack("{pack}")),
    log:
        log_of("heads", "train_pack", "{pack}"),
    benchmark:
        benchmark_of("heads", "train_pack", "{pack}")
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=pack_memory,
        runtime=minutes(720),
        gpu=gpus("train_pack"),
    params:
        results=results_folder,
        settings=settings("train_pack"),
        code=code("train_pack"),
    shell:
        "python -m nearid --log {log} heads train-pack --results {params.results} --pack {wildcards.pack}"
        " --settings {params.settings:q}"


# Alone, or behind its pack, which it then only publishes. The pack's report is `ancient`: a pack that ran for another
# member's sake leaves this one as it is.
rule train_head:
    input:
        training_files,
        roster(),
        fetched("train_head"),
        ancient(pack_report),
    output:
        head=costly(LAYOUT.head_file("{ablation}")),
        config=str(LAYOUT.head_file("{ablation}", "config.json")),
        log=str(LAYOUT.head_file("{ablation}", "log.jsonl")),
        provenance=str(LAYOUT.head_file("{ablation}", "provenance.json")),
    log:
        log_of("heads", "train_head", "{ablation}"),
    benchmark:
        benchmark_of("heads", "train_head", "{ablation}")
    wildcard_constraints:
        ablation=with_timelapse(False),
    conda:
        "../../envs/train.yaml"
    # One thread: repeatable to the bit, and heads train side by side.
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime=minutes(720),
        gpu=gpus("train_head"),
    params:
        results=results_folder,
        settings=settings("train_head"),
        code=code("train_head"),
    shell:
        "python -m nearid --log {log} heads train --results {params.results} --ablation {wildcards.ablation}"
        " --settings {params.settings:q}"


# The same step for a head that also keeps its states for the time lapse: an output that only some heads have.
use rule train_head as train_head_with_timelapse with:
    output:
        head=costly(LAYOUT.head_file("{ablation}")),
        config=str(LAYOUT.head_file("{ablation}", "config.json")),
        log=str(LAYOUT.head_file("{ablation}", "log.jsonl")),
        provenance=str(LAYOUT.head_file("{ablation}", "provenance.json")),
        timelapse=str(LAYOUT.head_file("{ablation}", "timelapse.safetensors")),
    log:
        log_of("heads", "train_head_with_timelapse", "{ablation}"),
    benchmark:
        benchmark_of("heads", "train_head_with_timelapse", "{ablation}")
    wildcard_constraints:
        ablation=with_timelapse(True),
