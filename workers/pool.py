"""One trainer child at work and, if there is memory for it, one on standby, so that a replacement costs no import."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Lock

import structlog

from workers.child import Child, Gone

log = structlog.get_logger(__name__)

RUNS_PER_CHILD = 200  # then a fresh one takes over: what trial code leaks is bounded


class TrainerBroken(Exception):
    """A child died before it was ready: no trial can be trained here. The message ends with its stderr."""


class ChildPool:
    """Hands out a ready child. ``spawn`` makes one; it always runs on the same thread, which lives as long as the pool.

    Without ``standby`` the next child is made when the one before it has ended.

    ``acquire``, ``discard`` and ``drop`` belong to who has the runner's turn, ``cancel`` and ``close`` to any thread.
    """

    def __init__(self, spawn: Callable[[], Child], *, standby: bool = True) -> None:
        self._spawn, self._keeps_standby = spawn, standby
        # The kernel kills a child when the thread that spawned it ends (PR_SET_PDEATHSIG).
        self._spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")
        self._active: Child | None = None
        self._standby: Future[Child] | None = None
        self._cancelled = Event()
        self._lock = Lock()

    def warm_up(self) -> None:
        """Begin to import in a child, before there is a trial for it."""
        with self._lock:
            if self._standby is None and not self._cancelled.is_set():
                self._standby = self._spawner.submit(self._spawn)

    def acquire(self) -> Child | None:
        """The ready child, or None once ``cancel`` was called; raises TrainerBroken if none gets ready."""
        if self._cancelled.is_set():
            return None
        child = self._active
        if child is not None and child.alive and child.runs < RUNS_PER_CHILD:
            return child
        if child is not None:
            self.discard(child)
        child = self._take_standby()
        if child is None:
            return None
        child.ready.wait()
        if self._cancelled.is_set():
            return None
        if not child.is_ready or not child.alive:
            self.discard(child)
            gone = child.gone or Gone(0, "")
            raise TrainerBroken(f"the trainer child ended with status {gone.code} while it started: {gone.stderr}")
        if self._keeps_standby:
            self.warm_up()
        return child

    def discard(self, child: Child) -> None:
        """Kill the child; the next ``acquire`` gives another."""
        child.kill()
        with self._lock:
            if self._active is child:
                self._active = None

    @property
    def warm(self) -> bool:
        """Whether a child is kept that has trained, and so may hold memory of the device."""
        return self._active is not None and self._active.alive and self._active.runs > 0

    def drop(self) -> None:
        """Kill the active child; what memory it held is free when this returns. The standby has trained nothing."""
        child = self._active
        if child is not None:
            self.discard(child)
            child.wait()

    def cancel(self) -> None:
        """No child is handed out any more, and whoever waits for one gets None."""
        self._cancelled.set()
        with self._lock:
            if self._active is not None:
                self._active.ready.set()

    def close(self) -> None:
        """Kill every child; no process of them is left when this returns."""
        self.cancel()
        with self._lock:
            children = [self._active] if self._active is not None else []
            if self._standby is not None and not self._standby.cancel():
                children.append(self._standby.result())
            self._active = self._standby = None
        for child in children:
            child.kill()
        for child in children:
            child.wait()
        self._spawner.shutdown()

    def _take_standby(self) -> Child | None:
        self.warm_up()
        with self._lock:
            if self._standby is None or self._cancelled.is_set():
                return None
            child = self._standby.result()
            self._standby = None
            self._active = child
        if child.gone is not None and child.is_ready:
            # It was ready and died while it waited (the kernel needed its memory, say): that says nothing of the next.
            log.warning("standby_child_died", pid=child.pid, code=child.gone.code)
            self.discard(child)
            return self._take_standby()
        return child


def spawner(env: dict[str, str], command: tuple[str, ...]) -> Callable[[], Child]:
    """A function that spawns children of this command."""

    def spawn() -> Child:
        child = Child(env, command)
        log.info("child_spawned", pid=child.pid, worker_pid=os.getpid())
        return child

    return spawn
