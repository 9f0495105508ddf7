"""Checks of a machine, a cluster and a run before hours are spent."""
