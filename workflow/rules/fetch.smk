# The only rule that uses the network. All others read local paths, with hub access switched off.
rule fetch_download:
    output:
        "resources/{download}/fetched.json",
    log:
        "resources/logs/fetch_download/{download}.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        settings=lambda wildcards: json.dumps(
            config["downloads"][wildcards.download], sort_keys=True
        ),
        mirror=RULES.mirror,
    shell:
        "HF_HUB_OFFLINE=0 python -m nearid --log {log:q} fetch download --download {wildcards.download:q}"
        " {params.mirror:q} --settings {params.settings:q}"
