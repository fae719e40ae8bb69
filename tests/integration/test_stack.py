"""The local stack: its life from the first start to the last process, with the real parts."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from ladder.client import Client
from ladder.errors import ApiError, StackError
from ladder.ports import free_port
from ladder.stack import LocalStack
from ladder.stack_postgres import Postgres
from ladder.stack_redis import Redis
from tests.conftest import StackFactory

DEADLINE_S = 90.0


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not in {DEADLINE_S:g} s: {what}"
        time.sleep(0.02)


def processes_of(home: Path) -> list[psutil.Process]:
    """All processes that name ``home`` in their command or in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if process.pid != os.getpid() and any(str(home) in word for word in words):
            found.append(process)
    return found


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ladder-test-") as path:
        yield Path(path) / "home"


@pytest.fixture
def up(home: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Runs ``ladder up --json`` on ``home`` as a process of its own."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "ladder", "up", "--json", "--home", str(home), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()
    until(lambda: not processes_of(home), "the parts of a killed stack end")


def ready(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    answer: dict[str, Any] = json.loads(line)
    return answer


def spec(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "objectives": [{"metric": "loss", "direction": "minimize"}],
        "search_space": [{"name": "lr", "type": "float", "low": 0.0001, "high": 0.1, "log": True}],
        "trainer": {"name": "external"},
        "start": False,
    }


def rows(server: Postgres, database: str, statement: str) -> list[Any]:
    with closing(psycopg2.connect(host=str(server.socket_dir), user="ladder", dbname=database)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgres_keeps_what_was_committed_over_a_stop(home: Path, mode: Any) -> None:
    home.mkdir()
    server = Postgres(home, log=home / "log")
    try:
        server.start()
        server.create_database("kept")
        rows(server, "kept", "CREATE TABLE t AS SELECT 42 AS answer")
        server.restart(mode)
        assert rows(server, "kept", "SELECT answer FROM t") == [(42,)]
        assert rows(server, "kept", "SHOW server_version")[0][0].startswith("18.")
    finally:
        server.stop("immediate")
    assert not processes_of(home)


def test_postgres_runs_where_a_socket_path_would_be_too_long(tmp_path: Path) -> None:
    home = tmp_path / ("deep" * 30)
    home.mkdir()
    server = Postgres(home, log=home / "log", durable=False)
    try:
        server.start()
        assert rows(server, "postgres", "SELECT 1") == [(1,)]
        assert not server.socket_dir.is_relative_to(home)
    finally:
        server.stop("immediate")
    assert not server.socket_dir.exists()


def test_a_database_is_copied_from_its_template_and_dropped_in_use(postgres: Postgres) -> None:
    postgres.create_database("original")
    rows(postgres, "original", "CREATE TABLE t AS SELECT 1 AS one")
    postgres.create_database("copy", template="original")
    assert rows(postgres, "copy", "SELECT one FROM t") == [(1,)]
    with closing(psycopg2.connect(host=str(postgres.socket_dir), user="ladder", dbname="copy")):
        postgres.drop_database("copy")
    postgres.drop_database("original")
    assert rows(postgres, "postgres", "SELECT 1 FROM pg_database WHERE datname IN ('copy', 'original')") == []


def test_every_test_gets_a_migrated_database_of_its_own(postgres_url: str, postgres: Postgres) -> None:
    from sqlalchemy import create_engine

    engine = create_engine(postgres_url)
    with engine.connect() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM study").scalar_one() == 0
    engine.dispose()


def test_redis_asks_for_its_password_and_forgets_when_told(redis_server: Redis) -> None:
    with socket.create_connection(("127.0.0.1", redis_server.port)) as stranger:
        stranger.sendall(b"GET x\r\n")
        assert stranger.recv(100).startswith(b"-NOAUTH")
    for forget in (redis_server.flushall, redis_server.restart_empty):
        with redis_server.client() as client:
            client.set("x", "1")
        forget()
        with redis_server.client() as client:
            assert client.get("x") is None


def test_redis_with_a_log_keeps_what_it_had_over_a_crash(home: Path) -> None:
    home.mkdir()
    server = Redis(home, log=home / "log", password="secret", append_only=True)
    try:
        server.start()
        with server.client() as client:
            client.set("x", "1")
        server.restart()
        with server.client() as client:
            assert client.get("x") == b"1"
    finally:
        server.stop()


def test_the_redis_password_is_in_no_process_list(redis_server: Redis) -> None:
    password = redis_server.url.split(":")[2].split("@")[0]
    assert redis_server.process is not None
    assert not any(password in word for word in psutil.Process(redis_server.process.pid).cmdline())


def test_a_second_start_finds_its_data_and_its_tokens(stack: StackFactory, home: Path) -> None:
    first = stack(home=home, workers=0)
    with Client(first.url, first.token) as client:
        client.studies.create(spec("kept"))
    token = first.token
    first.stop()
    assert not processes_of(home)
    second = stack(home=home, workers=0)
    assert second.token == token
    with Client(second.url, second.token) as client:
        assert [study.name for study in client.studies.list()] == ["kept"]


def test_replicas_answer_on_ports_of_their_own_about_the_same_studies(stack: StackFactory) -> None:
    both = stack(workers=0, api_replicas=2, control_replicas=2)
    assert len(set(both.urls)) == 2
    with Client(both.urls[0], both.token) as one, Client(both.urls[1], both.token) as other:
        one.studies.create(spec("shared"))
        assert other.studies.read("shared").name == "shared"
    assert all(process.alive for process in both.control)


def test_workers_register_and_hold_no_database_password(stack: StackFactory) -> None:
    running = stack(workers=1)
    running.spawn_worker(name="extra")
    running.wait_workers()
    with Client(running.url, running.token) as client:
        assert {worker.name for worker in client.workers.list()} == {"cpu-1", "extra"}
        with Client(running.url, running.worker_token) as worker, pytest.raises(ApiError) as caught:
            worker.studies.create(spec("not-mine"))
    assert caught.value.status == 403
    for process in running.workers:
        assert "LADDER_DATABASE_URL" not in psutil.Process(process.pid).environ()


def test_a_second_stack_on_the_same_home_is_refused_and_the_first_lives_on(stack: StackFactory, home: Path) -> None:
    first = stack(home=home, workers=0)
    second = stack(home=home, workers=0, start=False)
    with pytest.raises(StackError, match=f"runs already \\(pid {os.getpid()}\\)"):
        second.start()
    with Client(first.url, first.token) as client:
        assert client.studies.list() == []


def test_a_port_in_use_is_refused_before_anything_starts(stack: StackFactory, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = stack(home=home, port=port, start=False)
        with pytest.raises(StackError, match=f"port {port} on 127.0.0.1 is in use"):
            refused.start()
    assert not (home / "postgres").exists()
    assert not processes_of(home)


def test_a_part_that_cannot_start_ends_the_others_and_is_named(stack: StackFactory, home: Path) -> None:
    broken = stack(home=home, start=False, settings_env={"LADDER_HEARTBEAT_S": "60"})  # more than a third of the lease
    with pytest.raises(StackError, match=r"(api|control)-1 ended with exit code 1: .*heartbeat_s"):
        broken.start()
    assert not processes_of(home)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_ends_cleanly_at_a_signal(up: Callable[..., Any], home: Path, number: signal.Signals) -> None:
    port = free_port()
    process = up("--port", str(port), "--workers", "1")
    assert ready(process) == {"url": f"http://127.0.0.1:{port}", "home": str(home), "workers": 1}
    process.send_signal(number)
    process.send_signal(number)  # an impatient second one must not leave half of it running
    assert process.wait(DEADLINE_S) == 0
    assert not processes_of(home)
    assert not (home / "run").exists()
    assert not (home / "stack.json").exists()


def test_a_killed_stack_leaves_no_process_and_can_start_again(up: Callable[..., Any], home: Path) -> None:
    first = up("--port", "0", "--workers", "1")
    ready(first)
    first.kill()
    second = up("--port", "0", "--workers", "0")  # at once: Postgres is still shutting down
    url = ready(second)["url"]
    token = json.loads((home / "client.json").read_text())["token"]
    with Client(url, token) as client:
        assert client.studies.list() == []


def test_up_starts_again_what_dies(up: Callable[..., Any], home: Path) -> None:
    url = ready(up("--port", "0", "--workers", "0"))["url"]
    token = json.loads((home / "client.json").read_text())["token"]
    (api,) = [each for each in processes_of(home) if each.cmdline()[-2:] == ["ladder", "api"]]
    api.kill()

    def answers() -> bool:
        try:
            with Client(url, token, retries=0) as client:
                client.studies.list()
        except ApiError:
            return False
        return True

    until(answers, "the API is back")


def test_commands_of_the_same_user_find_the_stack_by_themselves(stack: StackFactory, home: Path) -> None:
    stack(home=home, workers=0)
    env = {name: value for name, value in os.environ.items() if not name.startswith("LADDER_")}
    env["LADDER_HOME"] = str(home)

    def ladder(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "ladder", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=DEADLINE_S)

    minted = ladder("token", "create", "--scope", "read", "--json")
    assert minted.returncode == 0, minted.stderr
    env["LADDER_TOKEN"] = json.loads(minted.stdout)["token"]
    listed = ladder("study", "ls", "--json")
    assert (listed.returncode, listed.stdout) == (0, "")
    refused = ladder("study", "pause", "x")
    assert refused.returncode == 1
    assert "wider scope" in refused.stderr
    del env["LADDER_TOKEN"]
    assert ladder("study", "pause", "x").returncode == 3
    keys = [json.loads(line) for line in ladder("token", "ls", "--json").stdout.splitlines()]
    assert keys[0]["scope"] == "read"
    assert json.loads(minted.stdout)["token"] not in str(keys)
    assert ladder("token", "revoke", keys[0]["id"]).returncode == 0
    again = ladder("token", "revoke", keys[0]["id"])
    assert again.returncode == 1
    assert keys[0]["id"] in again.stderr
    checks = [json.loads(line) for line in ladder("doctor", "--json").stdout.splitlines()]
    found = {check["name"]: check["ok"] for check in checks}
    assert {name for name in ("api", "token", "clock", "postgres", "migrations", "redis") if found[name]} == {
        "api", "token", "clock", "postgres", "migrations", "redis",
    }  # fmt: skip
    assert "/api/v1/studies" in json.loads(ladder("openapi", "--live").stdout)["paths"]


def test_a_stack_takes_studies_and_keeps_them_over_a_restart_of_its_engines(stack: StackFactory) -> None:
    running: LocalStack = stack(workers=0)
    with Client(running.url, running.token) as client:
        client.studies.create(spec("before"))
        running.postgres.restart("immediate")
        running.redis.restart_empty()
        running.wait_ready()
        client.studies.create(spec("after"))
        assert {study.name for study in client.studies.list()} == {"before", "after"}
