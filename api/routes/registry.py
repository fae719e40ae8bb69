"""What a study can be made of. Feeds the form of the dashboard, the command line and whoever writes a specification."""

from fastapi import APIRouter, Response

from api import registry_views
from api.answers import answer
from api.deps import Parts, Reader
from api.errors import responses
from api.schemas.registry import EntryList, TrainerList

router = APIRouter(tags=["registry"])


@router.get("/trainers", response_model=TrainerList, responses=responses())
def list_trainers(parts: Parts, caller: Reader) -> Response:
    """Trainers by name, with the JSON Schema of their configuration, what they report and what may be tuned."""
    return answer(TrainerList(items=list(registry_views.trainers(parts.settings.trainers))), by_alias=True)


@router.get("/samplers", response_model=EntryList, responses=responses())
def list_samplers(caller: Reader) -> Response:
    """Samplers by their `type`, with the JSON Schema of their settings."""
    return answer(EntryList(items=list(registry_views.samplers())), by_alias=True)


@router.get("/schedulers", response_model=EntryList, responses=responses())
def list_schedulers(caller: Reader) -> Response:
    """Schedulers by their `type`, with the JSON Schema of their settings."""
    return answer(EntryList(items=list(registry_views.schedulers())), by_alias=True)


@router.get("/rules", response_model=EntryList, responses=responses())
def list_rules(caller: Reader) -> Response:
    """Stopping rules by their `type`, with the schema of their settings: what may stand in a study's `pruners`."""
    return answer(EntryList(items=list(registry_views.rules())), by_alias=True)
