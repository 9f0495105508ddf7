rule extract_tokens:
    input:
        RULES.inputs("extract_tokens"),
    output:
        str(LAYOUT.tokens("{backbone}", "{collection}", "{shard}")),
    log:
        RULES.log("extract_tokens"),
    benchmark:
        RULES.benchmark("extract_tokens")
    group:
        RULES.group("extract_tokens")
    conda:
        "../../envs/train.yaml"
    # One thread on a CPU: sums in another order would give other bits.
    threads: RULES.decoders
    resources:
        mem_mb=RULES.memory("extract_tokens"),
        runtime=RULES.minutes("extract_tokens"),
        gpu=RULES.gpus("extract_tokens"),
        in_turn=1,
    params:
        results=RULES.results,
        settings=RULES.settings("extract_tokens"),
        code=RULES.code("extract_tokens"),
    shell:
        "python -m nearid --log {log:q} tokens extract --results {params.results:q} --backbone {wildcards.backbone:q}"
        " --collection {wildcards.collection:q} --shard {wildcards.shard:q} --workers {threads}"
        " --settings {params.settings:q}"


# Not part of a run: the demo's backbone is shipped. `make demo-backbone` pretrains it again and replaces it.
rule pretrain_backbone:
    input:
        "config/backbone.yaml",
    output:
        "results/backbone/config.json",
        "results/backbone/model.safetensors",
        "results/backbone/log.jsonl",
    log:
        "results/backbone/pretrain_backbone.log",
    benchmark:
        "results/backbone/pretrain_backbone.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 2
    resources:
        mem_mb=RULES.memory("pretrain_backbone"),
        runtime=RULES.minutes("pretrain_backbone"),
    params:
        output=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "python -m nearid --log {log:q} tokens pretrain --settings {input:q} --output {params.output:q}"
