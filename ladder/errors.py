"""What can go wrong on this side of the wire: the API's refusals, an API that does not answer, a stack that fails."""

from hpo.domain.errors import FieldError


class ApiError(Exception):
    """The API refused: its problem document. ``status`` is 0 when there was no answer at all.

    ``errors`` names each wrong field of the request: a JSON pointer, a stable code, what was given and wanted.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        code: str,
        title: str = "",
        request_id: str | None = None,
        errors: tuple[FieldError, ...] = (),
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code
        self.title = title
        self.request_id = request_id
        self.errors = errors

    def __str__(self) -> str:
        fields = "".join(f"; {field.pointer}: {field.message}" for field in self.errors)
        return f"{self.detail}{fields}"


class NotFoundError(ApiError):
    """404: no such study, trial, worker or artifact in this project."""


class ConflictError(ApiError):
    """409 or 412: the name is taken, the state does not allow it, or the object has changed since it was read."""


class LeaseLost(ConflictError):
    """The trial belongs to another worker now, or has ended: drop the work."""


class Unreachable(ApiError):
    """No answer, or 502, 503 or 504, after all retries: the same request may succeed later."""


class WaitTimeout(Exception):
    """What was waited for has not happened in time, or cannot happen any more."""


class StudyOver(WaitTimeout):
    """The study has ended: it has no trial to give."""


class TrialEnded(BaseException):
    """Nothing more is wanted of a leased trial. Past ``except Exception``: it ends the ``with`` block of the lease."""


class TrialPaused(TrialEnded):
    """The trial waits at its rung or for its study; its newest checkpoint is what it goes on from."""


class TrialStopped(TrialEnded):
    """The trial was pruned or cancelled."""


class LocalError(Exception):
    """Something on this machine is not as needed: what it is, and what to try next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class StackError(LocalError):
    """The local stack, or a part of it, cannot start or has died."""
