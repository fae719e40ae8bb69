"""Composition roots of the worker and the control process: what ``ladder worker`` and ``ladder control`` run."""

import os
import queue
import random
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from types import FrameType

import structlog

from hpo.checkpoints.filesystem import FilesystemStore
from hpo.logs import configure_logs
from hpo.settings import Settings
from ladder.client import Client
from workers import tasks
from workers.app import Doorbells, celery_app, request_stop, serve
from workers.child import TRAINER, environment
from workers.devices import threads_per_slot, worker_name
from workers.limits import Limits, Place
from workers.pool import ChildPool, spawner
from workers.presence import Presence, Refused
from workers.room import Room
from workers.runner import Runner
from workers.slots import run_slots
from workers.stats import Stats, find_gpu

log = structlog.get_logger(__name__)

WATCH_S = 0.5
LOGS_S = 2.0  # that a stopping worker takes at most to send what its last run printed


def run_worker(settings: Settings) -> int:
    """Train the trials of ``settings.queue`` until told to stop (SIGTERM, SIGINT, the API); returns the exit code.

    With several slots, one process each. One that has had no trial for ``settings.max_idle_s`` stops of itself.
    """
    configure_logs()
    threads = settings.threads or threads_per_slot(settings.slots)
    return work(settings, threads) if settings.slots == 1 else run_slots(settings, threads)


def work(settings: Settings, threads: int, device: Path | None = None) -> int:
    """One slot, in this process; call it on the main thread. ``device`` is where the slots of one device lock it."""
    name, stopped = worker_name(settings.worker_name), Event()
    root, data_root = settings.checkpoint_root.expanduser().absolute(), settings.data_root.expanduser().absolute()
    with ExitStack() as resources:
        token = settings.token.get_secret_value() if settings.token else None
        client = Client(settings.url, token, timeout_s=settings.request_timeout_s, retries=1)
        resources.callback(client.close)
        room = Room(device)
        resources.callback(room.close)
        pool = ChildPool(spawner(environment(os.environ, threads), TRAINER), standby=settings.standby)
        resources.callback(pool.close)
        cache_root = settings.cache_root.expanduser().absolute()
        place = Place(
            FilesystemStore(root), data_root, threads, cache_root=cache_root, room=room, stats=Stats(find_gpu())
        )
        runner = Runner(client.leases, pool, worker=name, place=place, limits=Limits.of(settings))
        resources.callback(runner.finish_logs, LOGS_S)

        def stop() -> None:
            stopped.set()
            runner.stop()

        stop_on_signals(stop)
        resources.callback(stop)
        pool.warm_up()  # torch takes seconds: begin before the API has answered
        presence = Presence(
            client.workers,
            name,
            settings.queue,
            every_s=settings.heartbeat_s,
            stopped=stopped,
            on_drain=_end,
            measure=place.stats.measure,
        )
        try:
            if not presence.register():
                return 0
        except Refused as error:
            print(error, file=sys.stderr)  # noqa: T201
            return 1
        presence.keep()
        log.info("worker_ready", worker=name, queue=settings.queue, threads=threads)
        app = celery_app(settings)
        doorbells = Doorbells(app, lambda: runner.busy)
        resources.callback(doorbells.close)
        tasks.register(app, runner.drain)
        poller = Thread(target=_poll, args=(runner, doorbells, settings, stopped), name="poll")
        poller.start()
        resources.callback(poller.join)
        if device is not None:
            watcher = Thread(target=_watch, args=(runner, room, doorbells, stopped), name="watch")
            watcher.start()
            resources.callback(watcher.join)
        resources.callback(stop)
        return serve(app, settings.queue)


def run_control(settings: Settings) -> int:
    """Advance studies and sweep until told to stop; returns the exit code."""
    from workers.control import register  # the only part of this package that reads the database

    configure_logs()
    app = celery_app(settings)
    doorbells = Doorbells(app)
    control = register(app, settings)
    stopped = Event()

    def stop() -> None:
        stopped.set()
        control.end()

    def sweep() -> None:
        while not stopped.is_set():
            try:
                control.sweep_until_ended()
            except Exception:
                log.exception("sweep_failed")  # a defect in one round; without any sweep nothing would be repaired
                stopped.wait(settings.sweep_s)

    stop_on_signals(stop)
    sweeper = Thread(target=sweep, name="sweep")
    sweeper.start()
    try:
        return serve(app, "control")
    finally:
        stop()
        sweeper.join()
        doorbells.close()


def _poll(runner: Runner, doorbells: Doorbells, settings: Settings, stopped: Event) -> None:
    """Look for work at the start and now and then, doorbell or not: without Redis, work is late but is done.

    Ends the worker when it has been idle for too long, always just after one more look.
    """
    max_idle_s = settings.max_idle_s
    while not stopped.is_set():
        try:
            runner.drain(settings.queue)
        except Exception:
            log.exception("poll_failed")  # a defect; the doorbells, and the next poll, may still work
        wait_s = settings.ring_again_s * random.uniform(0.75, 1.25)
        if max_idle_s is not None:
            if runner.stop_if_idle(max_idle_s):
                _end()
                return
            wait_s = min(wait_s, max(0.0, max_idle_s - runner.idle_s))
        doorbells.look()
        stopped.wait(wait_s)


def _end() -> None:
    """End this process as an operator would: the main thread sits in Celery, which a signal gets out of it."""
    os.kill(os.getpid(), signal.SIGTERM)


def _watch(runner: Runner, room: Room, doorbells: Doorbells, stopped: Event) -> None:
    """Make room for a slot that wants the device to itself, though no doorbell rings in this one."""
    while not stopped.wait(WATCH_S):
        if room.wanted:
            runner.make_room()
            doorbells.look()


def stop_on_signals(stop: Callable[[], None]) -> None:
    """At SIGTERM or SIGINT, however often they come, end ``serve`` and call ``stop`` on another thread."""
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def handle(number: int, _frame: FrameType | None) -> None:
        # A handler can interrupt another, also one that holds a lock: only what is reentrant may stand here.
        request_stop()
        signals.put(number)

    def follow() -> None:
        while True:
            log.info("stop_signal", signal=signal.Signals(signals.get()).name)
            stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    Thread(target=follow, name="stop", daemon=True).start()
