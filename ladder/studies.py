"""Studies over HTTP: ``client.studies`` with one method per route, and the study object that users hold."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

from pydantic import BaseModel

from api.schemas.records import CurveRead, WarmStartRead
from api.schemas.studies import (
    BestList,
    BestTrial,
    ConfirmationRead,
    DryRun,
    Enqueued,
    EnqueueIn,
    ParetoFront,
    RungList,
    RungRead,
    StudyCreate,
    StudyPage,
    StudyPatch,
    StudyRead,
    StudyVerb,
)
from api.schemas.trials import (
    ArtifactList,
    ArtifactRead,
    AttemptList,
    AttemptRead,
    ConfusionRead,
    DecisionList,
    DecisionRead,
    EventRead,
    MetricPage,
    MetricRead,
    Schedule,
    ScheduleSegment,
    TrialPage,
    TrialRead,
)
from ladder.curves import curves
from ladder.errors import ApiError
from ladder.events import follow as stream
from ladder.http import API, Http, Params
from ladder.study import Study, spec_of

Answer = TypeVar("Answer", bound=BaseModel)
Paged = TypeVar("Paged", StudyPage, TrialPage)
Spec = StudyCreate | Mapping[str, Any]
StudyReads = list[StudyRead]
Segments = list[ScheduleSegment]


class Studies:
    """Studies and all that belongs to one; ``study`` is an id or a name. Each method is one route of the API."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def create(self, spec: Spec | str, **options: Any) -> Study:
        """Create a study from a whole spec, or from its name and ``options`` (see ``ladder.study.spec_of``)."""
        body = _body(spec_of(spec, **options))
        # One key for all retries of this call: a study whose answer was lost is not created twice.
        answer = self._http.request("POST", f"{API}/studies", body, headers={"Idempotency-Key": str(uuid4())})
        return Study(self, StudyRead.model_validate_json(answer.content))

    def plan(self, spec: Spec | str, *, epoch_s: float | None = None, workers: int = 1, **options: Any) -> DryRun:
        """Validate a spec and show its rung table; nothing is stored. With ``epoch_s`` seconds an epoch also hours."""
        params: dict[str, str | int | list[str]] = {"dry_run": "true", "workers": workers}
        if epoch_s is not None:
            params["epoch_s"] = repr(epoch_s)
        answer = self._http.request("POST", f"{API}/studies", _body(spec_of(spec, **options)), params=params)
        return DryRun.model_validate_json(answer.content)

    def get(self, study: str) -> Study:
        return Study(self, self.read(study))

    def read(self, study: str) -> StudyRead:
        return self._get(_path(study), StudyRead)

    def patch(self, study: str, patch: StudyPatch, *, revision: int | None = None) -> StudyRead:
        """Change budget, labels or description; with ``revision`` only if the study still has that one."""
        headers = {} if revision is None else {"If-Match": f'"{revision}"'}
        body = patch.model_dump_json(exclude_unset=True)
        return StudyRead.model_validate_json(self._http.request("PATCH", _path(study), body, headers=headers).content)

    def act(self, study: str, verb: StudyVerb) -> StudyRead:
        return StudyRead.model_validate_json(self._http.request("POST", f"{_path(study)}/{verb}").content)

    def start(self, study: str) -> StudyRead:
        return self.act(study, "start")

    def pause(self, study: str) -> StudyRead:
        """Checkpoint what runs, free the devices, keep everything."""
        return self.act(study, "pause")

    def resume(self, study: str) -> StudyRead:
        return self.act(study, "resume")

    def stop(self, study: str) -> StudyRead:
        """Begin nothing new; what runs ends at its rung."""
        return self.act(study, "stop")

    def cancel(self, study: str) -> StudyRead:
        """End it now."""
        return self.act(study, "cancel")

    def trials(
        self, study: str, *, state: str | None = None, where: Sequence[str] = (), order_by: str | None = None
    ) -> list[TrialRead]:
        """All trials, through all pages; of one ``state`` if given, and of those all that ``where`` lets through.

        A condition is ``field:op:value``, such as ``params.lr:lt:0.01`` or ``value:ge:0.9``.
        """
        given = (("state", state), ("where", list(where) or None), ("order_by", order_by))
        params = {key: value for key, value in given if value is not None}
        return [trial for page in self._pages(f"{_path(study)}/trials", TrialPage, params) for trial in page.items]

    def trial(self, study: str, number: int) -> TrialRead:
        return self._get(_trial(study, number), TrialRead)

    def metrics(self, study: str, number: int) -> list[MetricRead]:
        """The accounted steps of a trial, rising."""
        path, after = f"{_trial(study, number)}/metrics", 0
        steps: list[MetricRead] = []
        while True:
            page = self._get(path, MetricPage, {"page_size": 1000, "after_step": after})
            steps += page.items
            if page.next_page_token is None:
                return steps
            after = page.items[-1].step

    def confusion(self, study: str, number: int, *, step: int | None = None) -> ConfusionRead:
        """How the validation images of a step, else of the newest rung, were classified. Raises NotFoundError."""
        return self._get(f"{_trial(study, number)}/confusion", ConfusionRead, {} if step is None else {"step": step})

    def decisions(self, study: str, number: int) -> list[DecisionRead]:
        """What the scheduler decided at each rung, in order."""
        return self._get(f"{_trial(study, number)}/decisions", DecisionList).items

    def attempts(self, study: str, number: int) -> list[AttemptRead]:
        """Each claim of the trial: who, when, from where to where, and how it ended."""
        return self._get(f"{_trial(study, number)}/attempts", AttemptList).items

    def artifacts(self, study: str, number: int) -> list[ArtifactRead]:
        """The trial's checkpoints in the store."""
        return self._get(f"{_trial(study, number)}/artifacts", ArtifactList).items

    def manifest(self, study: str, number: int, artifact: ArtifactRead) -> dict[str, Any]:
        """What its trainer wrote beside an artifact. Raises ApiError if that is no JSON object."""
        path = f"{_trial(study, number)}/artifacts/{quote(artifact.name, safe='')}/manifest"
        answer = self._http.request("GET", path)
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ApiError(f"the manifest of {artifact.name} is no JSON object", status=200, code="corrupt")
        return found

    def download(self, study: str, number: int, artifact: ArtifactRead, to: Path) -> Path:
        """Fetch an artifact to the file ``to``. Raises ApiError if the bytes are not those of its sha256."""
        digest = hashlib.sha256()
        path = f"{_trial(study, number)}/artifacts/{quote(artifact.name, safe='')}"
        with to.open("wb") as file:
            for chunk in self._http.stream(path):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != artifact.sha256:
            raise ApiError(
                f"{artifact.name} has sha256 {digest.hexdigest()}, want {artifact.sha256}", status=200, code="corrupt"
            )
        return to

    def rungs(self, study: str) -> list[RungRead]:
        return self._get(f"{_path(study)}/rungs", RungList).items

    def best(self, study: str, *, top: int = 1) -> list[BestTrial]:
        """The best trials, best first; fewer than ``top`` while fewer have a value."""
        return self._get(f"{_path(study)}/best", BestList, {"top": top}).items

    def confirmed(self, study: str) -> ConfirmationRead:
        """What became of the winners, trained anew. Raises ApiError ``not_confirmed`` saying why there is nothing."""
        return self._get(f"{_path(study)}/best", ConfirmationRead, {"confirmed": "true"})

    def pareto(self, study: str) -> ParetoFront:
        """The trials that no other beats in every objective, and their hypervolume."""
        return self._get(f"{_path(study)}/pareto", ParetoFront)

    def enqueue(self, study: str, params: Mapping[str, Any], *, repeat: int = 1) -> int:
        """Have a configuration trained before what the sampler proposes; returns how many wait."""
        body = EnqueueIn(params=dict(params), repeat=repeat).model_dump_json()
        headers = {"Idempotency-Key": str(uuid4())}
        answer = self._http.request("POST", f"{_path(study)}/trials", body, headers=headers)
        return Enqueued.model_validate_json(answer.content).waiting

    def schedule(self, study: str, number: int) -> Segments:
        """With which params the trial's weights were trained, from the first epoch on."""
        return self._get(f"{_trial(study, number)}/schedule", Schedule).items

    def events(self, study: str, *, after: int | None = None, follow: bool = True) -> Iterator[EventRead]:
        """The study's events after ``after`` as they happen; resumes by itself, ends when the study has ended.

        Without ``follow`` it ends after the events that are there now.
        """
        return stream(self._http, _path(study), after=after, retries=self._http.retries, live=follow)

    def curves(self, study: str) -> Iterator[CurveRead]:
        """The curves of all trials by number, as they come; resumes by itself where the stream breaks."""
        return curves(self._http, f"{_path(study)}/curves", retries=self._http.retries)

    def warm_start(self, study: str) -> WarmStartRead:
        """The trials of earlier studies that it began with; none without a warm start."""
        return self._get(f"{_path(study)}/warm-start", WarmStartRead)

    def list(self, *, state: str | None = None, label: str | None = None, confirmations: bool = False) -> StudyReads:
        """All studies, through all pages, with ``confirmations`` those too that confirm others.

        ``label`` is ``key:value``.
        """
        given = (("state", state), ("label", label), ("confirmations", "true" if confirmations else None))
        params = {key: value for key, value in given if value is not None}
        return [study for page in self._pages(f"{API}/studies", StudyPage, params) for study in page.items]

    def _get(self, path: str, answer: type[Answer], params: Params | None = None) -> Answer:
        return answer.model_validate_json(self._http.request("GET", path, params=params).content)

    def _pages(self, path: str, kind: type[Paged], params: Params | None = None) -> Iterator[Paged]:
        token: str | None = None
        while True:
            asked = {**(params or {}), "page_size": 500, **({"page_token": token} if token else {})}
            page = self._get(path, kind, asked)
            yield page
            token = page.next_page_token
            if token is None:
                return


def _path(study: str) -> str:
    return f"{API}/studies/{quote(study, safe='')}"


def _trial(study: str, number: int) -> str:
    return f"{_path(study)}/trials/{number}"


def _body(spec: Spec) -> str:
    # A mapping goes as it is: the server checks it and names the field at fault by its pointer.
    return (
        spec.model_dump_json(exclude_unset=True) if isinstance(spec, StudyCreate) else json.dumps(spec, allow_nan=True)
    )
