"""Evaluation of scorers: similarities on the benchmarks, and the metrics computed from them."""
