"""For vLLM's processes, which wait for each other in a loop of `sched_yield`: on two cores that kept other processes out for seconds."""

import os
import time

os.sched_yield = lambda: time.sleep(0.0002)
