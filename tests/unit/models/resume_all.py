"""Run in a process of its own: resume every checkpoint named on standard input and train it to its end.

One JSON line per job: what TrainJob takes, and ``save``, where to put the last epoch. Answers with the metrics.
"""

import json
import sys
from pathlib import Path

from models.job import TrainJob
from models.train import train

for line in sys.stdin:
    order = json.loads(line)
    last = Path(order.pop("save"))
    order["data_root"] = Path(order["data_root"])
    order["resume"] = Path(order["resume"]) if order["resume"] else None
    job = TrainJob(**order)
    curve = []
    for result in train(job):
        curve.append(dict(result.metrics))
        if result.step == job.max_resource:
            result.save(last)
    sys.stdout.write(f"{json.dumps(curve)}\n")
