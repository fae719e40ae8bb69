"""A tiny HTTP server on loopback that answers from a script and remembers what it was asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """``body`` is sent as JSON unless it is text or bytes; ``status`` 0 closes the connection without an answer."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def payload(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    def json(self) -> Any:
        return json.loads(self.body)


class Scripted(ThreadingHTTPServer):
    """Gives the replies of the script in order, the last one for ever."""

    daemon_threads = True
    script: list[Reply]
    asked: list[Asked]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Scripted

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append(Asked(self.command, self.path, headers, body, self.client_address[1]))
        reply = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
        if reply.status == 0:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.payload)))
        self.end_headers()
        self.wfile.write(reply.payload)

    do_GET = do_POST = do_PUT = do_PATCH = handle_any

    def log_message(self, *_: Any) -> None:
        """Silence: the tests read ``asked``."""


@contextmanager
def serving(*script: Reply) -> Iterator[Scripted]:
    server = Scripted(("127.0.0.1", 0), _Handler)
    server.script, server.asked = list(script), []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def problem(status: int, code: str, detail: str = "no", **more: Any) -> Reply:
    body = {"type": f"/problems/{code}", "title": code, "status": status, "code": code, "detail": detail, **more}
    return Reply(status, body, {"Content-Type": "application/problem+json"})


def stream(*events: dict[str, Any]) -> Reply:
    """Events of a study as its stream sends them."""
    at = {"at": "2026-01-02T03:04:05Z", "trial": None, "data": {}}
    text = "".join(f"id: {one['seq']}\nevent: {one['type']}\ndata: {json.dumps({**at, **one})}\n\n" for one in events)
    return Reply(200, text, {"Content-Type": "text/event-stream"})


STUDY: dict[str, Any] = {
    "id": "0199a000-0000-7000-8000-000000000001",
    "name": "digits",
    "objectives": [{"metric": "val_acc", "direction": "maximize", "goal": 0.9}],
    "search_space": [{"name": "lr", "type": "float", "low": 1e-4, "high": 0.1, "log": True}],
    "trainer": {"name": "synthetic"},
    "state": "running",
    "revision": 1,
    "counts": {"running": 2, "complete": 1},
    "best": {"number": 3, "value": 0.875, "params": {"lr": 0.01}, "state": "paused", "step": 3},
    "usage": {"epochs": 12},
    "conditions": [],
    "created_at": "2026-01-02T03:04:05Z",
    "updated_at": "2026-01-02T03:04:05Z",
    "a_field_of_a_later_release": 1,
}
CONFIRMATION: dict[str, Any] = {
    "state": "finished", "reason": None, "study": "digits.confirm", "study_id": "0199a000-0000-7000-8000-000000000002",
    "seeds": 2, "folds": None, "train_on": "train_and_validation",
    "candidates": [
        {"params": {"lr": 0.01}, "trial": 3, "search_value": 0.9, "values": [0.85, 0.87], "n": 2, "mean": 0.86,
         "ci95": 0.127, "gap": 0.04, "failed": 0},
        {"params": {"lr": 0.02}, "trial": 1, "search_value": 0.89, "values": [], "n": 0, "mean": None, "ci95": None,
         "gap": None, "failed": 2},
    ],
    "recommendation": {"params": {"lr": 0.01}, "trial": 3, "search_value": 0.9, "n": 2, "mean": 0.86, "ci95": 0.127,
                       "gap": 0.04, "final_trial": 4,
                       "checkpoint": {"id": "0199a000-0000-7000-8000-000000000003", "step": 9, "sha256": "0" * 64}},
    "test": {"acc": 0.75, "acc_low": 0.7, "acc_high": 0.8, "loss": 0.5, "images": 360, "metrics": {"test_acc": 0.75}},
}  # fmt: skip
RUNG = {
    "bracket": 0, "rung": 0, "resource": 1, "reported": 4, "promoted": 1, "waiting": 2, "running": 1, "cutoff": 0.75,
}  # fmt: skip
