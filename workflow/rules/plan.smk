# What the run will take, for people with a call of Snakemake but not the config files at hand: `snakemake … -- plan`.
rule plan:
    log:
        str(LAYOUT.log("plan", "plan", "all")),
    localrule: True
    conda:
        "../../envs/workflow.yaml"
    params:
        settings=json.dumps(config, sort_keys=True),
    shell:
        "python -m nearid --log {log:q} plan --settings {params.settings:q}"
