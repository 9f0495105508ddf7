# Entry: `snakemake --cores 2 --configfile config/demo.yaml`. Everything is in workflow/; an include alone would leave
# Snakemake without a default target.
include: "workflow/Snakefile"


rule default:
    default_target: True
    input:
        rules.all.input,
    localrule: True
