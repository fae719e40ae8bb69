"""The local stack: Postgres, Redis, API, control and workers as child processes, the same code as anywhere else."""

import fcntl
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from ladder.errors import StackError, Unreachable
from ladder.home import Home, read_json, write_private
from ladder.ports import free_port, is_free
from ladder.process import Process, spawn, wait_until
from ladder.stack_postgres import Postgres
from ladder.stack_redis import Redis, new_password

READY_S = 60.0
WEB_STOP_S = 5.0
DRAIN_S = 15.0  # what a local worker has to checkpoint and hand back; less than a cluster's, someone is waiting


class LocalStack:
    """All parts of Ladder below the directory ``home``, whose data a second start finds again.

    ``port`` 0 takes any free one; further API replicas listen on the ports after it. ``settings_env`` are ``LADDER_*``
    variables for all parts. Nothing outlives the thread that called ``start``, so call it from the main thread.
    """

    def __init__(
        self,
        home: Path,
        *,
        port: int = 0,
        workers: int = 2,
        queue: str = "cpu",
        settings_env: Mapping[str, str] | None = None,
        api_replicas: int = 1,
        control_replicas: int = 1,
        durable: bool = True,
    ) -> None:
        self.home = Home(home.expanduser().absolute())
        self.queue = queue
        self.api: list[Process] = []
        self.control: list[Process] = []
        self.workers: list[Process] = []
        self.urls: list[str] = []
        self.token = ""
        self.worker_token = ""
        self._port = port
        self._counts = (api_replicas, control_replicas, workers)
        self._settings_env = dict(settings_env or {})
        self._secrets = read_json(self.home.secrets_file)
        self._lock: IO[str] | None = None
        self._next_worker = 0
        self.postgres = Postgres(self.home.path, log=self.home.logs / "postgres.log", durable=durable)
        password = self._secrets.setdefault("redis_password", new_password())
        self.redis = Redis(self.home.path, log=self.home.logs / "redis.log", password=password)

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def database_url(self) -> str:
        return self.postgres.url()

    @property
    def redis_url(self) -> str:
        return self.redis.url

    @property
    def checkpoint_root(self) -> Path:
        return Path(self._shared_env()["LADDER_CHECKPOINT_ROOT"])

    @property
    def data_root(self) -> Path:
        return Path(self._shared_env()["LADDER_DATA_ROOT"])

    def start(self) -> None:
        """Start all parts in order and wait until the API is ready. On an error nothing is left running.

        Raises StackError: the port is in use, another stack holds the home, or a part cannot start.
        """
        api_replicas, control_replicas, workers = self._counts
        self.home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take_lock()
        try:
            first = self._first_port(api_replicas)
            self.home.logs.mkdir(exist_ok=True)
            self.postgres.start()
            self.redis.start()
            self._prepare_database()
            self.urls = [f"http://127.0.0.1:{first + replica}" for replica in range(api_replicas)]
            for replica in range(api_replicas):
                self.api.append(self._spawn_api(replica))
            for replica in range(control_replicas):
                self.control.append(self._spawn_control(replica))
            self.wait_ready()
            # Only now: a worker that finds no API says so and waits before it looks again.
            for _ in range(workers):
                self.spawn_worker()
            self._announce()
        except BaseException:
            self.stop()
            raise

    def wait_ready(self, timeout_s: float = READY_S) -> None:
        """Wait until every API replica says that it can reach Postgres and Redis."""
        for url in self.urls:
            wait_until(partial(_ready, url), f"{url} is ready", timeout_s=timeout_s, alive=self.api + self.control)

    def wait_workers(self, count: int | None = None, timeout_s: float = READY_S) -> None:
        """Wait until ``count`` workers (all that were spawned) have registered."""
        from ladder.client import Client

        wanted = len(self.workers) if count is None else count
        with Client(self.url, self.token) as client:

            def registered() -> bool:
                return sum(worker.state != "lost" for worker in client.workers.list()) >= wanted

            wait_until(registered, f"{wanted} workers have registered", timeout_s=timeout_s, alive=self.workers)

    def spawn_worker(self, *, name: str | None = None, env: Mapping[str, str] | None = None) -> Process:
        """Start one more worker process with one slot; its name is unused so far."""
        self._next_worker += 1
        chosen = name or f"{self.queue}-{self._next_worker}"
        variables = {
            "LADDER_URL": self.url,
            "LADDER_TOKEN": self.worker_token,
            "LADDER_REDIS_URL": self.redis.url,
            "LADDER_QUEUE": self.queue,
            "LADDER_WORKER_NAME": chosen,
            **(env or {}),
        }
        process = self._spawn(f"worker-{chosen}", ["worker"], variables)
        self.workers.append(process)
        return process

    def respawn(self, process: Process) -> Process:
        """Start again what has ended: an API replica, a control process or a worker."""
        if process in self.workers:
            self.workers.remove(process)
            return self.spawn_worker()
        for running, start in ((self.api, self._spawn_api), (self.control, self._spawn_control)):
            if process in running:
                index = running.index(process)
                running[index] = start(index)
                return running[index]
        raise ValueError(f"{process.name} is no part of this stack")

    def stop(self) -> None:
        """End all parts, those first that need the others. Every part is ended even if another resists."""
        drain_s = float(self._settings_env.get("LADDER_DRAIN_S", DRAIN_S)) + 5
        with ExitStack() as steps:  # runs in reverse
            steps.callback(self._release_lock)
            steps.callback(self.home.stack_file.unlink, missing_ok=True)
            steps.callback(self.postgres.stop)
            steps.callback(self.redis.stop)
            steps.callback(_stop_all, self.api, WEB_STOP_S)
            steps.callback(_stop_all, self.control, WEB_STOP_S)
            steps.callback(_stop_all, self.workers, drain_s)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _take_lock(self) -> None:
        lock = self.home.lock.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise StackError(
                f"a stack with home {self.home.path} runs already (pid {holder})",
                "use it, stop it, or choose another directory with --home",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None

    def _first_port(self, count: int) -> int:
        if self._port == 0:
            return free_port(count)
        for port in range(self._port, self._port + count):
            if not is_free(port):
                raise StackError(
                    f"port {port} on 127.0.0.1 is in use", "choose another with --port, or --port 0 for any"
                )
        return self._port

    def _prepare_database(self) -> None:
        """Create and migrate the database; mint the two tokens at the first start."""
        from hpo.storage.keys import create_key
        from hpo.storage.migrate import upgrade

        self.postgres.create_database("ladder")
        upgrade(self.database_url)
        for name in ("admin", "worker"):
            if name not in self._secrets:
                self._secrets[name] = create_key(self.database_url, scope=name, name=f"local-{name}")
        write_private(self.home.secrets_file, self._secrets)
        self.token, self.worker_token = self._secrets["admin"], self._secrets["worker"]

    def _announce(self) -> None:
        """Tell this user's other commands where the stack is."""
        write_private(self.home.client_file, {"url": self.url, "token": self.token})
        everything = {
            **self._shared_env(),
            "LADDER_URL": self.url,
            "LADDER_TOKEN": self.worker_token,
            "LADDER_DATABASE_URL": self.database_url,
            "LADDER_REDIS_URL": self.redis.url,
        }
        write_private(self.home.stack_file, everything)

    def _spawn_api(self, replica: int) -> Process:
        port = self.urls[replica].rsplit(":", 1)[1]
        variables = {"LADDER_HOST": "127.0.0.1", "LADDER_PORT": port, **self._server_env()}
        return self._spawn(f"api-{replica + 1}", ["api"], variables)

    def _spawn_control(self, replica: int) -> Process:
        return self._spawn(f"control-{replica + 1}", ["control"], self._server_env())

    def _server_env(self) -> dict[str, str]:
        return {"LADDER_DATABASE_URL": self.database_url, "LADDER_REDIS_URL": self.redis.url}

    def _shared_env(self) -> dict[str, str]:
        return {
            "LADDER_CHECKPOINT_ROOT": str(self.home.path / "checkpoints"),
            "LADDER_DATA_ROOT": str(self.home.path / "data"),
            "LADDER_CACHE_ROOT": str(self.home.path / "cache"),
            "LADDER_DRAIN_S": str(DRAIN_S),
            # Each worker sees all cores, but has to share them: more threads than cores make all of them slower.
            "LADDER_THREADS": str(max(1, (os.cpu_count() or 1) // max(1, self._counts[2]))),
            **self._settings_env,
        }

    def import_env(self) -> dict[str, str]:
        """The environment of this process without its ``LADDER_*`` settings, in which Ladder can be imported.

        A worker must not see a database, nor a test another stack.
        """
        return {**{k: v for k, v in os.environ.items() if not k.startswith("LADDER_")}, **_import_path()}

    def _spawn(self, name: str, arguments: list[str], variables: Mapping[str, str]) -> Process:
        env = {**self.import_env(), "PYTHONUNBUFFERED": "1", **self._shared_env(), **variables}
        command = [sys.executable, "-m", "ladder", *arguments]
        return spawn(name, command, log=self.home.logs / f"{name}.log", env=env)


def _stop_all(processes: list[Process], timeout_s: float) -> None:
    """Ask all at once, then wait for each."""
    for process in processes:
        process.send(signal.SIGTERM)
    while processes:
        processes[-1].stop(timeout_s=timeout_s)
        processes.pop()


def _import_path() -> dict[str, str]:
    """Lets the children import Ladder where it runs from a checkout that is not installed."""
    root = Path(__file__).parent.parent
    if root.name == "site-packages":
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))}


def _ready(url: str) -> bool:
    from ladder.errors import ApiError
    from ladder.http import Http

    http = Http(url, None, timeout_s=5, retries=0)
    try:
        http.request("GET", "/readyz")
    except Unreachable:
        return False
    except ApiError as error:
        raise StackError(f"{url}/readyz answered {error.status}: {error}") from error
    finally:
        http.close()
    return True
