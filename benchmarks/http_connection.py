"""The least that speaks HTTP/1.1 to the API: one socket kept alive, JSON in, JSON out.

A client library costs more CPU per request than the server: on a machine that both share, it would be measured and not
the server. Only what uvicorn sends is understood: a status line, headers with Content-Length, a body.
"""

import json
import socket
from typing import Any
from urllib.parse import urlsplit


class Connection:
    """Requests one after another to ``url`` with an API key. Open it with ``connect``."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._address = (parts.hostname, parts.port)
        self._head = f"Host: {parts.netloc}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        self._socket: socket.socket | None = None

    def connect(self) -> None:
        """Open a new connection in place of the old one, if there is one."""
        self.close()
        self._socket = socket.create_connection(self._address, timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def request(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """The answer's JSON. Raises RuntimeError if the status is not 200 or 201."""
        assert self._socket is not None, "call connect first"
        data = json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(data)}\r\n\r\n"
        self._socket.sendall(head.encode() + data)
        status, answer = self._receive()
        if status not in (200, 201):
            raise RuntimeError(f"{method} {path} was answered {status}: {answer.decode(errors='replace')}")
        return json.loads(answer)

    def _receive(self) -> tuple[int, bytes]:
        assert self._socket is not None
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        head = received[:end].lower()
        at = head.index(b"content-length:") + len(b"content-length:")
        length = int(head[at:].split(b"\r\n", 1)[0])
        body = received[end + 4 :]
        while len(body) < length:
            body += self._more()
        return int(head[9:12]), body

    def _more(self) -> bytes:
        assert self._socket is not None
        part = self._socket.recv(65536)
        if not part:
            raise RuntimeError("the API closed the connection")
        return part
