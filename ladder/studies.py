"""Studies over HTTP: ``client.studies`` with one method per route, and the study object that users hold."""

import json
from collections.abc import Mapping
from typing import Any

from api.schemas.imports import StudyImport
from api.schemas.studies import DryRun, StudyCreate, StudyDeleted, StudyPage, StudyPatch, StudyRead, StudyVerb
from ladder.calls import given, study_path
from ladder.http import API
from ladder.result_calls import ResultCalls
from ladder.study import Study, spec_of
from ladder.trial_calls import TrialCalls

Spec = StudyCreate | Mapping[str, Any]
StudyReads = list[StudyRead]


class Studies(TrialCalls, ResultCalls):
    """Studies and all that belongs to one; ``study`` is an id or a name. Each method is one route of the API."""

    def create(self, spec: Spec | str, **options: Any) -> Study:
        """Create a study from a whole spec, or from its name and ``options`` (see ``ladder.study.spec_of``)."""
        return Study(self, self._post(f"{API}/studies", StudyRead, _body(spec_of(spec, **options))))

    def plan(self, spec: Spec | str, *, epoch_s: float | None = None, workers: int = 1, **options: Any) -> DryRun:
        """Validate a spec and show its rung table; nothing is stored. With ``epoch_s`` seconds an epoch also hours."""
        params = given(dry_run="true", workers=workers, epoch_s=None if epoch_s is None else repr(epoch_s))
        answer = self._http.post(f"{API}/studies", _body(spec_of(spec, **options)), params=params)
        return DryRun.model_validate_json(answer.content)

    def import_page(self, page: StudyImport) -> StudyRead:
        """Take in a page of trials of a study that has run elsewhere; sent again it changes nothing."""
        return self._post(f"{API}/studies/import", StudyRead, page.model_dump_json(exclude_unset=True))

    def get(self, study: str) -> Study:
        return Study(self, self.read(study))

    def read(self, study: str) -> StudyRead:
        return self._get(study_path(study), StudyRead)

    def patch(self, study: str, patch: StudyPatch | Mapping[str, Any], *, revision: int | None = None) -> StudyRead:
        """Change budget, labels, description or space; with ``revision`` only if the study still has that one."""
        headers = _only_at(revision)
        body = patch.model_dump_json(exclude_unset=True) if isinstance(patch, StudyPatch) else json.dumps(patch)
        answer = self._http.request("PATCH", study_path(study), body, headers=headers)
        return StudyRead.model_validate_json(answer.content)

    def act(self, study: str, verb: StudyVerb) -> StudyRead:
        return self._post(f"{study_path(study)}/{verb}", StudyRead)

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

    def extend(self, study: str, *, n_full: int | None = None, **budget: float | None) -> StudyRead:
        """Go on with a study, also a finished one, with a larger budget: ``max_trials=200``, ``max_epochs=…``."""
        body: dict[str, Any] = {"budget": budget, **({} if n_full is None else {"n_full": n_full})}
        return self._post(f"{study_path(study)}/extend", StudyRead, json.dumps(body))

    def clone(
        self, study: str, name: str, *, changes: Mapping[str, Any] | None = None, start: bool | None = None
    ) -> Study:
        """Create a study like another one; ``changes`` is a part of a spec, merged into the other's."""
        body = {"name": name, "changes": dict(changes or {}), **({} if start is None else {"start": start})}
        return Study(self, self._post(f"{study_path(study)}/clone", StudyRead, json.dumps(body)))

    def archive(self, study: str) -> StudyRead:
        """Leave an ended study out of lists."""
        return self.act(study, "archive")

    def unarchive(self, study: str) -> StudyRead:
        return self.act(study, "unarchive")

    def delete(self, study: str, *, force: bool = False, revision: int | None = None) -> StudyDeleted:
        """Delete a study with all that it holds; with ``force`` also one that runs, which is cancelled first."""
        params = given(force="true" if force else None)
        answer = self._http.request("DELETE", study_path(study), params=params, headers=_only_at(revision))
        return StudyDeleted.model_validate_json(answer.content)

    def list(
        self,
        *,
        state: str | None = None,
        label: str | None = None,
        name: str | None = None,
        archived: bool = False,
        confirmations: bool = False,
        order_by: str | None = None,
    ) -> StudyReads:
        """All studies, through all pages, with ``confirmations`` those too that confirm others.

        ``label`` is ``key:value``, ``name`` a part of the name; ``archived`` lists the archived ones.
        """
        params = given(
            state=state,
            label=label,
            name=name,
            archived="true" if archived else None,
            confirmations="true" if confirmations else None,
            order_by=order_by,
        )
        return [study for page in self._pages(f"{API}/studies", StudyPage, params) for study in page.items]


def _only_at(revision: int | None) -> dict[str, str]:
    return {} if revision is None else {"If-Match": f'"{revision}"'}


def _body(spec: Spec) -> str:
    # A mapping goes as it is: the server checks it and names the field at fault by its pointer.
    return (
        spec.model_dump_json(exclude_unset=True) if isinstance(spec, StudyCreate) else json.dumps(spec, allow_nan=True)
    )
