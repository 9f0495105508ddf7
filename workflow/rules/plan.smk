# What the run will take, for people who have a Snakemake call at hand and not the config's files: `snakemake … -- plan`.
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
