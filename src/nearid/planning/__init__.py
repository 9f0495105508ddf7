"""Estimates made before a run: hours, disk and memory of each stage, and the size of its tokens."""
