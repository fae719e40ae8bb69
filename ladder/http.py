"""Requests to the API: bounded retries, and problems turned into exceptions."""

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

from hpo.domain.errors import FieldError
from ladder.errors import ApiError, ConflictError, LeaseLost, NotFoundError, Unreachable
from ladder.wire import BROKEN, Answer, Wire

API = "/api/v1"
TEMPORARY = frozenset({429, 502, 503, 504})
BACKOFF_S, LONGEST_WAIT_S = 0.1, 5.0
CHUNK_BYTES = 1 << 16
Params = Mapping[str, str | int | list[str]]


class Http:
    """Sends requests and reads answers. Every request may be sent again: a POST carries an ``Idempotency-Key``, which
    its retries share; claims, heartbeats and reports do without, since a claim id, a lease and a step make them repeat.

    Safe to use from several threads.
    """

    def __init__(self, url: str, token: str | None, *, timeout_s: float, retries: int) -> None:
        self.url = url
        self.retries = retries
        self._wire = Wire(url, timeout_s=timeout_s)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._json_headers = {**self._headers, "Content-Type": "application/json"}

    def close(self) -> None:
        self._wire.close()

    def request(
        self,
        method: str,
        path: str,
        body: str | bytes | Path | None = None,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send and return the answer, a 2xx. Text in ``body`` is JSON, bytes and files go as they are.

        Raises ApiError, or its subclass for what happened; Unreachable once the retries are used up.
        """
        target = f"{path}?{urlencode(params, doseq=True)}" if params else path
        content = body.encode() if isinstance(body, str) else body
        sent = self._json_headers if isinstance(body, str) else self._headers
        if headers:
            sent = {**sent, **headers}
        for tries in range(self.retries + 1):
            last = tries == self.retries
            try:
                answer = self._wire.send(method, target, content, sent)
            except BROKEN as error:
                if last:
                    raise self.unreachable(error) from error
                time.sleep(_backoff_s(tries))
                continue
            if answer.is_success:
                return answer
            refusal = error_of(answer)
            if last or not (answer.status in TEMPORARY or refusal.code == "key_in_flight"):
                raise refusal
            time.sleep(max(_backoff_s(tries), _retry_after_s(answer)))
        raise AssertionError("the loop returns or raises")

    def post(self, path: str, body: str | None = None, *, params: Params | None = None) -> Answer:
        """A POST that its retries repeat under one Idempotency-Key: what it does is done once."""
        return self.request("POST", path, body, params=params, headers={"Idempotency-Key": str(uuid4())})

    @contextmanager
    def open(
        self, path: str, *, headers: Mapping[str, str] | None = None, silence_s: float | None = None
    ) -> Iterator[HTTPResponse]:
        """A GET whose body is read as it comes. It is not sent again once it breaks: raises one of ``wire.BROKEN``."""
        with self._wire.open(path, {**self._headers, **(headers or {})}, silence_s=silence_s) as response:
            if not 200 <= response.status < 300:
                raise error_of(Answer(response.status, response.reason, response.headers, response.read()))
            yield response

    def stream(self, path: str) -> Iterator[bytes]:
        """The body of a GET in chunks. Raises Unreachable when it breaks."""
        try:
            with self.open(path) as response:
                while chunk := response.read(CHUNK_BYTES):
                    yield chunk
        except BROKEN as error:
            raise self.unreachable(error) from error

    def unreachable(self, error: Exception) -> Unreachable:
        """The error for a connection that failed."""
        if isinstance(error, TimeoutError):
            text = f"{self.url} did not answer in time"
        else:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            text = f"{self.url} cannot be reached: {reason}"
        return Unreachable(text, status=0, code="unreachable")


def error_of(answer: Answer) -> ApiError:
    """The exception for an answer that is not a 2xx, whether or not a problem document came with it."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or "code" not in problem:  # a proxy's page, or something that is not Ladder
        problem = {"code": f"http_{answer.status}", "detail": f"{answer.status} {answer.reason}"}
    code = str(problem["code"])
    return _class_of(answer.status, code)(
        str(problem.get("detail") or problem.get("title") or code),
        title=str(problem.get("title") or ""),
        status=answer.status,
        code=code,
        request_id=problem.get("request_id") or answer.headers.get("x-request-id"),
        errors=tuple(
            FieldError(str(field.get("pointer", "")), str(field.get("code", "")), str(field.get("message", "")))
            for field in problem.get("errors") or ()
        ),
    )


def _class_of(status: int, code: str) -> type[ApiError]:
    if code == "lease_lost":
        return LeaseLost
    if status in (409, 412):
        return ConflictError
    if status == 404:
        return NotFoundError
    return Unreachable if status in (502, 503, 504) else ApiError


def _backoff_s(tries: int) -> float:
    # Jitter, so that workers which lost the API together do not come back together.
    return float(BACKOFF_S * 2**tries * random.uniform(0.5, 1.5))


def _retry_after_s(answer: Answer) -> float:
    value = answer.headers.get("retry-after", "")
    return min(float(value), LONGEST_WAIT_S) if value.isdigit() else 0.0
