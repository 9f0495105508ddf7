"""Sweeps (docs/sweeps.md): many heads as submitit jobs, outside Snakemake's graph, which then finds them trained.

A sweep is an overlay with its heads, and a list of their jobs, both in `results/<name>/sweeps/<sweep>/`. A head gets
the same settings, code and output folder as from its rule. `plan` writes the overlay, `submission` starts and ends
jobs, `states` knows which jobs and heads are done, `status` shows their progress, and `collection` registers finished
heads with Snakemake.
"""
