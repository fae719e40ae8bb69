"""What the user reads when a command fails, and its exit code: one line, and the next thing to try."""

from hpo.domain.errors import LadderError
from ladder.errors import ApiError, ConflictError, LocalError, NotFoundError, Unreachable, WaitTimeout

OK, FAILED, USAGE, NOT_FOUND, CONFLICT, NOT_MET, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


def explain(error: Exception) -> tuple[int, str, str] | None:
    """Exit code, message and hint for what can be foreseen; None for a defect, whose trace is wanted."""
    match error:
        case ApiError():
            return _exit_code(error), _message(error), _hint(error)
        case LocalError():
            return FAILED, error.message, error.hint
        case WaitTimeout():
            return NOT_MET, str(error), ""
        case LadderError():  # of a server process that runs in this command
            return FAILED, error.detail, "ladder doctor"
    return None


def _exit_code(error: ApiError) -> int:
    match error:
        case NotFoundError():
            return NOT_FOUND
        case ConflictError():
            return CONFLICT
    return USAGE if error.status == 422 else FAILED


def _message(error: ApiError) -> str:
    fields = "".join(f"\n  {field.pointer or '/'}: {field.message}" for field in error.errors)
    told = [error.title] if error.title and error.title not in error.detail else []
    told += [f"request {error.request_id}"] if error.request_id else []
    return f"{error.detail}{fields}" + (f"\n  {', '.join(told)}" if told else "")


def _hint(error: ApiError) -> str:
    match error:
        case Unreachable(status=0):
            return "start one with `ladder up`, or name yours in LADDER_URL"
        case Unreachable():
            return "ladder doctor"
        case NotFoundError(code="not_found"):
            return "ladder contest ls" if error.detail.startswith("there is no contest") else "ladder study ls"
        case ApiError(status=401):
            return "set LADDER_TOKEN to a key of this server; `ladder token create` makes one"
        case ApiError(status=403):
            return "use a key with a wider scope: `ladder token create --scope admin`"
        case ApiError(code="use_pareto"):
            return "ladder pareto with the same study"
        case ConflictError(code="name_taken"):
            return "choose another name with --set name=…"
    return f"ladder explain {error.code}" if error.title else ""
