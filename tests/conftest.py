"""The same environment wherever tests are started: at a desk, in CI without a terminal, in the background.

One thread, as in the workflow's jobs, since sums depend on the number of threads; set before torch is imported.
"""

import os
import signal

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

# Shells start background jobs with Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Without a standard input, the first file that a test opens would take its descriptor.
try:
    os.fstat(0)
except OSError:
    os.open(os.devnull, os.O_RDONLY)
