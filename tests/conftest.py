"""The same surroundings wherever tests are started: at a desk, in CI without a terminal, in the background.

Sums are made on one thread, as in the workflow's jobs, since more give other bits; said before torch is imported.
"""

import os
import signal

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

# A shell starts what runs in the background with Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Without a standard input the first file that a test opens would become it.
try:
    os.fstat(0)
except OSError:
    os.open(os.devnull, os.O_RDONLY)
