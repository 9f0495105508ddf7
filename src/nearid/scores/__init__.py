"""What a scorer is worth: similarities on the benchmarks, and the metrics drawn from them."""
