"""Trials over HTTP: listed, looked into, steered, and their checkpoints fetched and put."""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

from api.schemas.logs import LogLineRead, LogPage
from api.schemas.studies import Enqueued, EnqueueIn
from api.schemas.trials import (
    ArtifactList,
    ArtifactRead,
    AttemptList,
    AttemptRead,
    ConfusionRead,
    DecisionList,
    DecisionRead,
    MetricPage,
    MetricRead,
    Schedule,
    ScheduleSegment,
    TrialPage,
    TrialRead,
)
from hpo.domain.trial import TRIAL_ENDED
from ladder.calls import PAGE, Calls, given, study_path, trial_path
from ladder.errors import ApiError
from ladder.lists import TrialList

POLL_S = 1.0  # while lines of a log are followed
LOG_PAGE = 500


class TrialCalls(Calls):
    """Trials of a study; ``study`` is an id or a name, ``number`` the trial's."""

    def trials(
        self,
        study: str,
        *,
        state: str | None = None,
        rung: int | None = None,
        where: Sequence[str] = (),
        order_by: str | None = None,
        limit: int | None = None,
    ) -> TrialList:
        """All trials, through all pages, or the first ``limit``; of one ``state`` if given, and of those all that
        ``where`` lets through.

        A condition is ``field:op:value``, such as ``params.lr:lt:0.01`` or ``value:ge:0.9``.
        """
        size = None if limit is None else min(limit, PAGE)
        params = given(state=state, rung=rung, where=list(where) or None, order_by=order_by, page_size=size)
        pages = self._pages(f"{study_path(study)}/trials", TrialPage, params)
        return TrialList(islice((trial for page in pages for trial in page.items), limit))

    def trial(self, study: str, number: int) -> TrialRead:
        return self._get(trial_path(study, number), TrialRead)

    def enqueue(self, study: str, params: Mapping[str, Any], *, repeat: int = 1) -> int:
        """Have a configuration trained before what the sampler proposes; returns how many wait."""
        body = EnqueueIn(params=dict(params), repeat=repeat).model_dump_json()
        return self._post(f"{study_path(study)}/trials", Enqueued, body).waiting

    def stop_trial(self, study: str, number: int) -> TrialRead:
        """End a trial with what it has; one that runs hears of it at its next heartbeat or report."""
        return self._post(f"{trial_path(study, number)}/stop", TrialRead)

    def retry_trial(self, study: str, number: int) -> TrialRead:
        """Queue a failed or cancelled trial again, from its last good checkpoint."""
        return self._post(f"{trial_path(study, number)}/retry", TrialRead)

    def metrics(self, study: str, number: int, *, after_step: int = 0, name: str | None = None) -> list[MetricRead]:
        """The accounted steps of a trial past ``after_step``, rising; with one metric only if it is named."""
        params = {"page_size": 1000, **given(after_step=after_step, name=name)}
        pages = self._pages(f"{trial_path(study, number)}/metrics", MetricPage, params)
        return [step for page in pages for step in page.items]

    def confusion(self, study: str, number: int, *, step: int | None = None) -> ConfusionRead:
        """How the validation images of a step, else of the newest rung, were classified. Raises NotFoundError."""
        return self._get(f"{trial_path(study, number)}/confusion", ConfusionRead, given(step=step))

    def decisions(self, study: str, number: int) -> list[DecisionRead]:
        """What the scheduler decided at each rung, in order."""
        return self._get(f"{trial_path(study, number)}/decisions", DecisionList).items

    def attempts(self, study: str, number: int) -> list[AttemptRead]:
        """Each claim of the trial: who, when, from where to where, and how it ended."""
        return self._get(f"{trial_path(study, number)}/attempts", AttemptList).items

    def schedule(self, study: str, number: int) -> list[ScheduleSegment]:
        """With which params the trial's weights were trained, from the first epoch on."""
        return self._get(f"{trial_path(study, number)}/schedule", Schedule).items

    def logs(self, study: str, number: int, *, attempt: int | None = None, tail: int = LOG_PAGE) -> LogPage:
        """The newest ``tail`` lines that an attempt printed, the newest attempt's unless one is named."""
        return self._get(f"{trial_path(study, number)}/logs", LogPage, given(attempt=attempt, tail=tail))

    def follow_logs(self, study: str, number: int, *, tail: int = LOG_PAGE) -> Iterator[LogLineRead]:
        """The newest lines, then new ones as they come, through all attempts until the trial has ended."""
        path = f"{trial_path(study, number)}/logs"
        attempt: int | None = None
        after: int | None = None
        while True:
            # Asked before the lines: what was printed before the trial's end is among those read after it.
            ended = self.trial(study, number).state in TRIAL_ENDED
            page = self._get(path, LogPage, given(attempt=attempt, after=after, tail=tail))
            yield from page.items
            attempt = page.attempt
            after = page.items[-1].position if page.items else after or 0
            if page.items:
                continue
            if attempt is not None and attempt < page.attempts:
                attempt, after = attempt + 1, 0
            elif ended and (attempt is None or page.ended):
                return
            else:
                time.sleep(POLL_S)

    def artifacts(self, study: str, number: int) -> list[ArtifactRead]:
        """The trial's checkpoints in the store."""
        return self._get(f"{trial_path(study, number)}/artifacts", ArtifactList).items

    def artifact(self, study: str, number: int, name: str) -> bytes:
        """An artifact's bytes, of several attempts' the newest. Raises NotFoundError."""
        return b"".join(self._http.stream(_artifact(study, number, name)))

    def manifest(self, study: str, number: int, artifact: ArtifactRead) -> dict[str, Any]:
        """What its trainer wrote beside an artifact. Raises ApiError if that is no JSON object."""
        answer = self._http.request("GET", f"{_artifact(study, number, artifact.name)}/manifest")
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
        with to.open("wb") as file:
            for chunk in self._http.stream(_artifact(study, number, artifact.name)):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != artifact.sha256:
            raise ApiError(
                f"{artifact.name} has sha256 {digest.hexdigest()}, want {artifact.sha256}", status=200, code="corrupt"
            )
        return to

    def upload(self, study: str, number: int, step: int, content: bytes | Path, *, lease: UUID) -> ArtifactRead:
        """Put the checkpoint of a step into the store, under the lease of its trial. Raises LeaseLost."""
        headers = {
            "X-Ladder-Lease": str(lease),
            "X-Content-SHA256": _sha256(content),
            "Content-Type": "application/octet-stream",
        }
        path = _artifact(study, number, f"step-{step}.safetensors")
        return ArtifactRead.model_validate_json(self._http.request("PUT", path, content, headers=headers).content)


def _artifact(study: str, number: int, name: str) -> str:
    return f"{trial_path(study, number)}/artifacts/{quote(name, safe='')}"


def _sha256(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
