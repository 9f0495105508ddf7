"""The one model of the workflow: its steps, what each of them reads and writes, and the jobs that a config takes.

Rules, `nearid plan`, `nearid doctor`, sweeps and the manifest use it. It imports nothing heavy, since every cluster job
parses the workflow again.
"""
