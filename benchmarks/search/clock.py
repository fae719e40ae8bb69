"""One virtual clock for the peers: asynchronous workers train what a peer asks for, and report every epoch."""

import math
from heapq import heapify, heappop, heappush
from typing import Protocol

from benchmarks.search.tasks import Params, Task
from benchmarks.search.trace import Outcome, Tracer


class Peer(Protocol):
    """A search method of another library. Trials are numbered by the caller from 0 in the order of the asks."""

    def ask(self, trial: int) -> Params:
        """Params of a new trial."""

    def report(self, trial: int, step: int, loss: float) -> bool:
        """Tell the loss of an epoch, from 1; False if the trial must stop here. Not called for a divergence."""

    def end(self, trial: int, *, diverged: bool) -> None:
        """The trial was trained to its end, or its loss was not finite. Not called after ``report`` said False."""


def run(peer: Peer, task: Task, *, workers: int) -> Outcome:
    """Search until the task's budget is spent. A worker that becomes free asks at once and never waits."""
    tracer = Tracer()
    params = [peer.ask(trial) for trial in range(workers)]
    # When the epoch ends, its trial, its step. Equal times go by the trial's number.
    ends = [(task.epoch(params[trial], 1)[1], trial, 1) for trial in range(workers)]
    heapify(ends)
    while tracer.epochs < task.budget:
        now_s, trial, step = heappop(ends)
        loss, _ = task.epoch(params[trial], step)
        tracer.add(loss)
        if _goes_on(peer, task, trial, step=step, loss=loss):
            step += 1
        else:
            trial, step = len(params), 1
            params.append(peer.ask(trial))
        heappush(ends, (now_s + task.epoch(params[trial], step)[1], trial, step))
    return Outcome(tracer.trace, len(params))


def _goes_on(peer: Peer, task: Task, trial: int, *, step: int, loss: float) -> bool:
    if not math.isfinite(loss):
        peer.end(trial, diverged=True)
        return False
    if not peer.report(trial, step, loss):
        return False
    if step == task.max_resource:
        peer.end(trial, diverged=False)
        return False
    return True
