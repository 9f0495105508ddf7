"""The workflow's one model: which steps there are, what each of them reads and leaves, and which jobs a config takes.

Rules, `nearid plan`, `nearid doctor`, sweeps and the manifest all ask here. Nothing heavy is imported, since
every job of a cluster parses the workflow again.
"""
