"""What a run will take before it runs: hours, disk and memory of its stages, and its tokens."""
