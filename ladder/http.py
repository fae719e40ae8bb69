"""Requests to the API: one pooled connection, bounded retries, problems turned into exceptions."""

import random
import time
from collections.abc import Iterator, Mapping

import httpx

from hpo.domain.errors import FieldError
from ladder.errors import ApiError, ConflictError, LeaseLost, NotFoundError, Unreachable

API = "/api/v1"
TEMPORARY = frozenset({429, 502, 503, 504})
BACKOFF_S, LONGEST_WAIT_S = 0.1, 5.0
Params = Mapping[str, str | int | list[str]]


class Http:
    """Sends requests and reads answers. Every request of the API may be sent again: each is idempotent by nature
    (a claim id, a step, a lease) or carries an ``Idempotency-Key``, which the retries share.

    Safe to use from several threads.
    """

    def __init__(self, url: str, token: str | None, *, timeout_s: float, retries: int) -> None:
        self.url = url
        self.retries = retries
        self.inner = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=timeout_s,
            # Longer than a heartbeat's period, so that a worker keeps one connection.
            limits=httpx.Limits(max_keepalive_connections=8, keepalive_expiry=60),
            trust_env=False,  # a proxy from the environment must not see the token, nor slow down loopback
        )

    def close(self) -> None:
        self.inner.close()

    def request(
        self,
        method: str,
        path: str,
        body: str | bytes | None = None,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send and return the answer, a 2xx. ``body`` is JSON unless ``headers`` name another type.

        Raises ApiError, or its subclass for what happened; Unreachable once the retries are used up.
        """
        sent = {**({"Content-Type": "application/json"} if body is not None else {}), **(headers or {})}
        request = self.inner.build_request(method, path, content=body, params=params, headers=sent)
        for tries in range(self.retries + 1):
            last = tries == self.retries
            try:
                response = self.inner.send(request)
            except httpx.TransportError as error:
                if last:
                    raise Unreachable(_no_answer(self.url, error), status=0, code="unreachable") from error
                time.sleep(_backoff_s(tries))
                continue
            if response.is_success:
                return response
            refusal = error_of(response)
            if last or not (response.status_code in TEMPORARY or refusal.code == "key_in_flight"):
                raise refusal
            time.sleep(max(_backoff_s(tries), _retry_after_s(response)))
        raise AssertionError("the loop returns or raises")

    def stream(self, path: str) -> Iterator[bytes]:
        """The body of a GET in chunks. Not sent again once it breaks: the caller has seen a part of it."""
        try:
            with self.inner.stream("GET", path) as response:
                if not response.is_success:
                    response.read()
                    raise error_of(response)
                yield from response.iter_bytes()
        except httpx.TransportError as error:
            raise Unreachable(_no_answer(self.url, error), status=0, code="unreachable") from error


def error_of(response: httpx.Response) -> ApiError:
    """The exception for an answer that is not a 2xx, whether or not a problem document came with it."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or "code" not in problem:  # a proxy's page, or something that is not Ladder
        problem = {"code": f"http_{response.status_code}", "detail": response.reason_phrase}
    code, status = str(problem["code"]), response.status_code
    return _class_of(status, code)(
        str(problem.get("detail") or problem.get("title") or code),
        status=status,
        code=code,
        request_id=problem.get("request_id") or response.headers.get("x-request-id"),
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


def _retry_after_s(response: httpx.Response) -> float:
    value = response.headers.get("retry-after", "")
    return min(float(value), LONGEST_WAIT_S) if value.isdigit() else 0.0


def _no_answer(url: str, error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"{url} did not answer in time"
    return f"{url} cannot be reached: {str(error) or type(error).__name__}"
