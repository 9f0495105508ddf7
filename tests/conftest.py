"""Sums on one thread, as in the workflow's jobs, since more give other bits; said before torch is imported."""

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
