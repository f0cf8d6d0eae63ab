"""Makes agents one after the other with pauses, so that nothing queues, and prints each with the time at which the answer
was there: the commit was just before."""

import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from client import Connection  # noqa: E402

connection = Connection(sys.argv[1])
for _ in range(int(sys.argv[2])):
    agent, _, _ = connection.agent()
    print(agent, f"{time.clock_gettime(time.CLOCK_MONOTONIC):.6f}")
    time.sleep(random.uniform(0.005, 0.02))
