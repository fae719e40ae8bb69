"""Which parameters of a study matter."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response

from api.answers import answer
from api.caching import etag, not_modified
from api.deps import Parts, Reader, Services
from api.errors import responses
from api.schemas.analysis import ImportanceRead, PairRead
from hpo.analysis.importance import Method
from hpo.domain.errors import FieldError, InvalidSpec
from hpo.lifecycle import analyses
from hpo.lifecycle.analyses import MOST_TRIALS, Answered, Question
from hpo.lifecycle.definitions import Definition
from hpo.storage import figures
from hpo.storage.keys import Caller

router = APIRouter(prefix="/studies/{study}", tags=["analysis"])

Study = Annotated[str, Path(description="id or name of the study", max_length=100)]
Objective = Annotated[int, Query(ge=0, le=100, description="position of the objective")]
IfNoneMatch = Annotated[str | None, Header(max_length=1000)]
RETRY_S = 2  # after which to ask again for what control computes


@router.get(
    "/importance",
    response_model=ImportanceRead,
    responses={
        202: {"model": ImportanceRead, "description": "being computed; ask again after Retry-After seconds"},
        304: {"description": "not modified"},
        **responses("not_found"),
    },
)
def get_importance(
    study: Study,
    parts: Parts,
    caller: Reader,
    method: Annotated[Method, Query(description="ped_anova comes at once, the others are computed")] = "ped_anova",
    objective: Objective = 0,
    n_max: Annotated[
        int,
        Query(
            ge=10,
            le=MOST_TRIALS,
            description="trials to compute it from, at most; but for ped_anova rounded up to 100, 250, 500 or 1000",
        ),
    ] = 500,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """What share each parameter has in how good a trial is; the methods ask different questions and may disagree.

    Trials are compared after the same number of steps: at the highest rung with enough of them.
    """
    study_id = parts.names.resolve(parts.db, caller.project, study)
    definition = parts.db.read(lambda tx: parts.definitions.get(tx, study_id))
    check_objective(definition, objective)
    tag = None
    if method == "ped_anova":
        last = parts.db.read(lambda tx: figures.head(tx, study_id)).last_seq
        tag = etag(study_id, last, method, objective, n_max)
        if not_modified(tag, if_none_match):
            return Response(status_code=304, headers={"ETag": tag})
    found = importance_of(parts, caller, study, Question(method, objective, n_max))
    read = importance_read(Question(method, objective, n_max), found)
    if found.waiting:
        return answer(read, 202, {"Retry-After": str(RETRY_S)})
    return answer(read, headers=None if tag is None else {"ETag": tag})


def check_objective(definition: Definition, objective: int) -> None:
    """Raises InvalidSpec if the study has no such objective."""
    count = len(definition.spec.objectives)
    if objective >= count:
        wanted = "0" if count == 1 else f"0 to {count - 1}"
        message = f"objective must be {wanted}: the study has {count}, got {objective}"
        raise InvalidSpec(FieldError("/query/objective", "no_such_objective", message))


def importance_of(parts: Services, caller: Caller, study: str, question: Question) -> Answered:
    """The importance as far as it is known; rings for control where it has to be computed."""
    study_id = parts.names.resolve(parts.db, caller.project, study)
    definition = parts.db.read(lambda tx: parts.definitions.get(tx, study_id))
    if question.method == "ped_anova":
        seen = parts.db.read(lambda tx: analyses.evidence(tx, study_id, definition, question.n_max))
        return analyses.answered_at_once(definition, question, seen)
    found = parts.db.write(lambda tx: analyses.ask(tx, study_id, question))
    if found.waiting:
        parts.doorbell.ring_analysis(study_id)  # with every request, too: the last bell may have been lost
    return found


def importance_read(question: Question, answered: Answered) -> ImportanceRead:
    found = answered.found
    waiting = "being computed" + (f": this was found at event {answered.basis}" if found else "")
    return ImportanceRead(
        method=question.method,
        objective=question.objective,
        n_trials=found.n_trials if found else 0,
        at_step=answered.at_step,
        values=dict(found.values) if found else {},
        pairs=[PairRead(params=list(pair.params), value=pair.value) for pair in (found.pairs if found else ())],
        reason=waiting if answered.waiting else found.reason if found else None,
        basis=answered.basis,
        computed_at=answered.computed_at,
    )
