"""What a person does to a study with a form of its own: extend, delete."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from pydantic import ValidationError
from sqlalchemy import Connection

from api.dashboard.pages.studies import back, confirmed
from api.dashboard.session import Form, Posted
from api.deps import Parts
from api.schemas.studies import BudgetPatch
from hpo.domain.errors import InvalidSpec
from hpo.lifecycle import retire
from hpo.lifecycle.extend import extend
from hpo.lifecycle.outcome import Outcome
from hpo.spec.errors import errors_of
from hpo.storage import studies as stored
from hpo.storage.keys import audit

router = APIRouter(include_in_schema=False, prefix="/studies/{study}")

Study = Annotated[str, Path(max_length=100)]
WHOLE = ("max_trials", "max_concurrent", "max_epochs")
HOURS = ("max_gpu_hours", "max_wall_s")


def budget_of(form: Posted, now: dict[str, Any]) -> dict[str, Any]:
    """The bounds that the form changes against those of ``now``; an empty field lifts one that may be absent.

    Raises InvalidSpec naming the field.
    """
    given: dict[str, Any] = {}
    for name in (*WHOLE, *HOURS):
        if name not in form.fields:
            continue
        text = form.text(name).strip()
        value: Any = text or None
        if text:
            # What is no number goes on as it is, for the schema to refuse by name.
            try:
                value = int(text) if name in WHOLE else float(text)
            except ValueError:
                value = text
        if value != now.get(name) and not (value is None and name == "max_trials"):
            given[name] = value
    try:
        return BudgetPatch.model_validate(given).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise InvalidSpec(*errors_of(error, given)) from error


@router.post("/extend")
def extend_study(request: Request, parts: Parts, form: Form, study: Study) -> Response:
    """Raise the bounds; a study that has finished searches on."""

    def work(tx: Connection) -> Outcome[None]:
        row = stored.get(tx, form.caller.project, study)
        outcome = extend(tx, form.caller.project, row.id, budget=budget_of(form, row.spec["budget"]))
        audit(tx, form.caller, "study.extend", str(row.id), request.state.request_id)
        return outcome

    parts.ring(parts.db.write(work))
    return back(request, form, f"{study} is extended.", to=f"/studies/{study}")


@router.post("/delete")
def delete_study(request: Request, parts: Parts, form: Form, study: Study) -> Response:
    """Delete a study whose name was typed; one that runs is cancelled first."""

    def work(tx: Connection) -> tuple[Outcome[None], str, UUID]:
        row = stored.get(tx, form.caller.project, study)
        confirmed(form, row.name)
        outcome = retire.delete(tx, form.caller.project, row.id, force=True, revision=None)
        audit(tx, form.caller, "study.delete", str(row.id), request.state.request_id)
        return outcome, row.name, row.id

    outcome, name, _ = parts.db.write(work)
    parts.ring(outcome)
    return back(request, form, f"{name} is deleted.", to="/")
