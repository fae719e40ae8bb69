"""Every refusal of Ladder: one tree, each class with a stable code and no HTTP status (``api/errors.py`` has those)."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field: where it stands (a JSON pointer into the request), a stable code, what was given and wanted."""

    pointer: str
    code: str
    message: str


class LadderError(Exception):
    """Base of all errors that a caller can answer."""

    code: ClassVar[str] = "internal"

    @property
    def detail(self) -> str:
        return str(self.args[0]) if self.args else self.__class__.__name__


class InvalidSpec(LadderError):
    """The request is well-formed but asks for something that cannot be: each wrong field is named."""

    code = "validation_failed"

    def __init__(self, *errors: FieldError) -> None:
        super().__init__(f"{len(errors)} field{'s' if len(errors) != 1 else ''}")
        self.errors = errors


class Malformed(LadderError):
    """The request body, a token or a query parameter cannot be read at all."""

    code = "malformed"


class Unauthorized(LadderError):
    code = "unauthorized"


class Forbidden(LadderError):
    code = "forbidden"


class NotFound(LadderError):
    code = "not_found"


class NameTaken(LadderError):
    code = "name_taken"


class InvalidState(LadderError):
    """The study or trial is in a state from which the wanted one cannot be reached."""

    code = "invalid_state"


class UsePareto(LadderError):
    """A study of several objectives has a Pareto front and no single best trial."""

    code = "use_pareto"


class NotConfirmed(LadderError):
    """The study's winners were not confirmed: nobody asked for it, it still goes on, or it came to nothing."""

    code = "not_confirmed"


class LeaseLost(LadderError):
    """Another worker has claimed the trial since, or it ended: the caller's work is void."""

    code = "lease_lost"


class KeyInFlight(LadderError):
    """A request with the same Idempotency-Key is being answered right now."""

    code = "key_in_flight"


class KeyReused(LadderError):
    """The same Idempotency-Key came with another body."""

    code = "idempotency_key_reused"


class StaleRevision(LadderError):
    """If-Match names a revision that is not the current one."""

    code = "stale_revision"


class TooLarge(LadderError):
    code = "too_large"


class UnsupportedMediaType(LadderError):
    """The body is of a kind that is not read here."""

    code = "unsupported_media_type"


class ProtocolMismatch(LadderError):
    """The worker speaks another version of the worker protocol than this server."""

    code = "protocol_mismatch"


class Unavailable(LadderError):
    """Postgres or Redis cannot be reached right now; the same request may succeed later."""

    code = "unavailable"


class RateLimited(LadderError):
    """The caller asks more often than it may; the same request will succeed in ``wait_s`` seconds."""

    code = "rate_limited"

    def __init__(self, detail: str, wait_s: float) -> None:
        super().__init__(detail)
        self.wait_s = wait_s
