"""A worker process as the operator sees it: its exit code, what it prints, what it leaves. No Redis: it is late then,
not idle."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from api.schemas.leases import Assignment, ClaimIn, ReleaseIn, ReportIn, ReportOut
from tests.unit.workers.conftest import wait_for
from tests.unit.workers.fake_api import NEVER, FakeApi, assignment
from tests.unit.workers.test_child import exists

# The program of ``ladder worker`` with a trainer that needs no torch.
PROGRAM = """
import sys
from hpo.settings import Settings
from tests.unit.workers.conftest import STAND_IN
from workers import main
main.TRAINER = STAND_IN  # for the slots, too, which import this program
if __name__ == "__main__":
    sys.exit(main.run_worker(Settings()))
"""


class Server(ThreadingHTTPServer):
    """The worker protocol over HTTP, answered by a FakeApi. ``refuse`` is the status of every answer to a PUT."""

    daemon_threads = True

    def __init__(self, api: FakeApi) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.api, self.refuse, self.drain = api, 0, False
        self.thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self.thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A worker that is killed leaves its connections open: that is what is tested."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Tests print nothing."""

    def do_PUT(self) -> None:
        self.body()
        if self.server.refuse:
            code = {401: "unauthorized", 409: "protocol_mismatch"}[self.server.refuse]
            self.answer({"code": code, "detail": "not with this key"}, self.server.refuse)
            return
        record = {"name": "w", "queue": "cpu", "host": "h", "device": "d", "state": "idle"}
        now = NEVER.isoformat()
        self.answer({**record, "started_at": now, "seen_at": now, "drain": self.server.drain})

    def do_POST(self) -> None:
        api, parts, body = self.server.api, self.path.split("/"), self.body()
        match parts[-1]:
            case "claim":
                self.answer(api.claim(ClaimIn.model_validate_json(body)).model_dump(mode="json"))
            case "report":
                report = ReportIn.model_validate_json(body)
                self.answer(api.report("s", int(parts[-2]), report).model_dump(mode="json"))
            case "release":
                api.release("s", int(parts[-2]), ReleaseIn.model_validate_json(body))
                self.answer({})
            case "heartbeat":
                self.answer({"lease_expires_at": NEVER.isoformat(), "stop": api.stop})

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["content-length"]))

    def answer(self, content: Any, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server() -> Iterator[Server]:
    endless = {"config": {"epoch_s": 0.02}, "target_step": 10_000, "max_resource": 10_000}
    server = Server(FakeApi([assignment(number, **endless) for number in (1, 2)]))
    yield server
    server.close()


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(server: Server, tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(**settings: str) -> "subprocess.Popen[str]":
        env = {
            **os.environ,
            "LADDER_URL": f"http://127.0.0.1:{server.server_port}",
            "LADDER_TOKEN": "ldr_x",
            "LADDER_REDIS_URL": "redis://:pw@127.0.0.1:1/0",
            "LADDER_CHECKPOINT_ROOT": str(tmp_path / "store"),
            "LADDER_HEARTBEAT_S": "0.1",
            "LADDER_RING_AGAIN_S": "0.2",
            "LADDER_WORKER_NAME": "w",
            **settings,
        }
        program = tmp_path / "program.py"
        program.write_text(PROGRAM)
        process = subprocess.Popen(
            [sys.executable, str(program)],
            env={**env, "PYTHONPATH": os.getcwd()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def events(stderr: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.splitlines()]


@pytest.mark.parametrize("signals", [["TERM"], ["TERM", "TERM", "TERM"], ["INT", "INT"], ["INT", "TERM", "INT"]])
def test_a_worker_told_to_stop_hands_its_trial_back_and_exits_0(
    server: Server, start: Start, signals: list[str]
) -> None:
    worker = start()
    wait_for(lambda: server.api.reports)
    for name in signals:
        worker.send_signal(signal.Signals[f"SIG{name}"])
    _, stderr = worker.communicate(timeout=20)
    assert worker.returncode == 0, stderr
    assert [number for number, _ in server.api.releases] == [1]
    assert len(server.api.claims) == 1
    children = [event["pid"] for event in events(stderr) if event["event"] == "child_spawned"]
    assert len(children) == 2
    assert not any(exists(pid) for pid in children)


def test_a_worker_whose_drain_was_asked_of_the_api_exits_0(server: Server, start: Start) -> None:
    worker = start()
    wait_for(lambda: server.api.reports)
    server.drain = True
    _, stderr = worker.communicate(timeout=20)
    assert worker.returncode == 0, stderr
    assert [number for number, _ in server.api.releases] == [1]


@pytest.mark.parametrize(("status", "code"), [(401, "unauthorized"), (409, "protocol_mismatch")])
def test_a_refused_worker_says_so_in_one_line_and_exits_1(server: Server, start: Start, status: int, code: str) -> None:
    server.refuse = status
    _, stderr = start().communicate(timeout=20)
    (line,) = [line for line in stderr.splitlines() if not line.startswith("{")]
    assert "not with this key" in line
    assert code in line
    assert server.api.claims == []


def test_a_dead_redis_is_said_without_its_password_and_trials_run_all_the_same(server: Server, start: Start) -> None:
    worker = start()
    wait_for(lambda: server.api.reports)
    worker.send_signal(signal.SIGTERM)
    _, stderr = worker.communicate(timeout=20)
    (first, *_) = [event for event in events(stderr) if "redis" in event["event"]]
    assert "127.0.0.1:1" in first["event"]
    assert ":pw@" not in stderr
    assert "Traceback" not in stderr


def test_a_worker_waits_for_an_api_that_is_away_and_can_be_stopped_meanwhile(start: Start) -> None:
    worker = start(LADDER_URL="http://127.0.0.1:1")
    assert worker.stderr is not None
    line = next(line for line in worker.stderr if "api_unreachable" in line)
    assert "127.0.0.1:1 cannot be reached" in line
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=20)
    assert worker.returncode == 0


def test_a_killed_worker_leaves_no_process(server: Server, start: Start) -> None:
    worker = start()
    wait_for(lambda: server.api.reports)
    os.killpg(worker.pid, signal.SIGKILL)
    _, stderr = worker.communicate(timeout=20)
    children = [event["pid"] for event in events(stderr) if event["event"] == "child_spawned"]
    assert children
    wait_for(lambda: not any(exists(pid) for pid in children), deadline_s=2.0)


def test_a_worker_without_trials_for_max_idle_exits_0_and_one_that_gets_some_does_not(
    server: Server, start: Start
) -> None:
    trials = [assignment(1, config={"epoch_s": 0.3}), assignment(2)]  # the first takes longer than max_idle

    def queue_another(_claim: Any) -> None:
        if len(api.claims) in (2, 4):  # before and after each it looks in vain
            api.add(trials.pop(0))

    api = server.api = FakeApi(hooks={"claim": queue_another})
    worker = start(LADDER_MAX_IDLE_S="0.6")
    _, stderr = worker.communicate(timeout=20)
    assert worker.returncode == 0, stderr
    assert (api.steps(1), api.steps(2), api.releases) == ([1, 2, 3], [1, 2, 3], [])
    (idle,) = [event for event in events(stderr) if event["event"] == "idle"]
    assert idle["idle_s"] >= idle["max_idle_s"] == 0.6
    children = [event["pid"] for event in events(stderr) if event["event"] == "child_spawned"]
    assert children
    assert not any(exists(pid) for pid in children)


def test_idle_slots_end_one_by_one_but_none_that_waits_for_the_device_of_its_own(server: Server, start: Start) -> None:
    long = {"config": {"epoch_s": 0.1}, "target_step": 8, "max_resource": 8}
    api = server.api = FakeApi([assignment(1, **long), assignment(2, alone=True)])
    worker = start(LADDER_SLOTS="2", LADDER_MAX_IDLE_S="0.4")
    _, stderr = worker.communicate(timeout=30)
    assert worker.returncode == 0, stderr
    assert (api.steps(1), api.steps(2), api.releases) == ([*range(1, 9)], [1, 2, 3], [])
    assert {event["worker"] for event in events(stderr) if event["event"] == "idle"} == {"w-0", "w-1"}


def test_every_slot_is_a_worker_of_its_own_and_one_signal_ends_all(server: Server, start: Start) -> None:
    worker = start(LADDER_SLOTS="2")
    wait_for(lambda: {number for number, _ in server.api.reports} == {1, 2})
    worker.send_signal(signal.SIGTERM)
    _, stderr = worker.communicate(timeout=30)
    assert worker.returncode == 0, stderr
    assert {claim.worker for claim in server.api.claims} == {"w-0", "w-1"}
    assert sorted(number for number, _ in server.api.releases) == [1, 2]


def test_the_slots_of_a_killed_worker_drain(server: Server, start: Start) -> None:
    worker = start(LADDER_SLOTS="2")
    wait_for(lambda: {number for number, _ in server.api.reports} == {1, 2})
    worker.kill()
    wait_for(lambda: sorted(number for number, _ in server.api.releases) == [1, 2])


def test_a_doorbell_wakes_an_idle_worker_and_none_is_taken_by_a_busy_one(
    server: Server, start: Start, redis_url: str
) -> None:
    with Celery(broker=redis_url, set_as_current=False) as bells, Redis.from_url(redis_url) as client:

        def ring() -> None:
            bells.send_task("worker.run_next", args=["cpu"], queue="cpu")

        def hanging() -> int:
            return int(client.llen("cpu"))

        worker = start(LADDER_REDIS_URL=redis_url, LADDER_RING_AGAIN_S="1000")
        wait_for(lambda: server.api.reports)
        # A worker that waits in Redis has asked for one bell before it became busy; no more than that one.
        for _ in range(3):
            ring()
        wait_for(lambda: hanging() >= 2)
        server.api.stop = "cancel"
        wait_for(lambda: len(server.api.releases) == 2)
        wait_for(lambda: hanging() == 0)
        server.api.add(assignment(3))
        ring()
        wait_for(lambda: server.api.steps(3) == [1, 2, 3])
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=20)
        assert worker.returncode == 0


def test_an_idle_slot_makes_room_for_a_trial_that_must_be_alone(server: Server, start: Start, redis_url: str) -> None:
    def decide(trial: Assignment, step: int) -> ReportOut:
        both = {number for number, _ in api.reports} >= {1, 2}
        return ReportOut(decision="complete" if both else "continue", target_step=10_000)

    endless = {"config": {"epoch_s": 0.02}, "target_step": 10_000, "max_resource": 10_000}
    api = server.api = FakeApi([assignment(number, **endless) for number in (1, 2)], decide=decide)
    with Celery(broker=redis_url, set_as_current=False) as bells:
        worker = start(LADDER_SLOTS="2", LADDER_REDIS_URL=redis_url, LADDER_RING_AGAIN_S="1000")
        wait_for(lambda: len(api.claims) == 4)  # each slot has trained, keeps its trainer warm and found no more work
        api.add(assignment(3, alone=True))
        bells.send_task("worker.run_next", args=["cpu"], queue="cpu")
        wait_for(lambda: api.steps(3))
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=30)
        assert worker.returncode == 0
