"""Creating a contest: every study of it checked first, then all stored in one transaction."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Connection

from hpo.domain.errors import FieldError, InvalidSpec, NameTaken
from hpo.lifecycle import studies
from hpo.lifecycle.outcome import Outcome
from hpo.spec.contest import ContestSpec, Entry
from hpo.spec.errors import errors_of
from hpo.spec.samplers import AutoSamplerSpec, SamplerSpec
from hpo.spec.study import StudySpec
from hpo.storage import contests as stored


def study_specs(contest: ContestSpec, *, installed: Collection[str] = ()) -> list[StudySpec]:
    """The normalised specs of all studies, in the order of ``contest.entries``. ``installed``: see hpo.spec.check.

    Raises InvalidSpec naming every wrong field of the contest.
    """
    found: dict[FieldError, list[str]] = {}
    checked: list[StudySpec] = []
    # Studies of one method differ in name, label and seed only: each method is checked once.
    for entry in contest.entries[: len(contest.methods)]:
        try:
            checked.append(_normalised(contest, entry, installed))
        except InvalidSpec as invalid:
            for error in invalid.errors:
                mine = replace(error, pointer=contest.origin(entry, error.pointer))
                found.setdefault(mine, []).append(contest.methods[entry.method].name)
    if found:
        raise InvalidSpec(*(_told(contest, error, methods) for error, methods in found.items()))
    return [_seeded(checked[entry.method], entry) for entry in contest.entries]


def _normalised(contest: ContestSpec, entry: Entry, installed: Collection[str]) -> StudySpec:
    data = contest.definition(entry)
    try:
        spec = StudySpec.model_validate(data)
    except ValidationError as error:
        raise InvalidSpec(*errors_of(error, data)) from error
    return studies.normalise(spec, installed=installed)


def _told(contest: ContestSpec, error: FieldError, methods: Sequence[str]) -> FieldError:
    """The error; where only some methods have it in a field that all share, with their names."""
    if error.pointer.startswith("/methods/") or len(methods) == len(contest.methods):
        return error
    return replace(error, message=f"for {', '.join(methods)}: {error.message}")


def _seeded(spec: StudySpec, entry: Entry) -> StudySpec:
    return spec.model_copy(
        update={
            "name": entry.name,
            "labels": spec.labels | {"seed": str(entry.seed)},
            "sampler": _with_seed(spec.sampler, entry.seed),
        }
    )


def _with_seed(sampler: SamplerSpec, seed: int) -> SamplerSpec:
    if isinstance(sampler, AutoSamplerSpec) and sampler.picked is not None:
        sampler = sampler.model_copy(update={"picked": sampler.picked.model_copy(update={"seed": seed})})
    return sampler.model_copy(update={"seed": seed})


def create(tx: Connection, project: UUID, contest: ContestSpec, specs: Sequence[StudySpec]) -> Outcome[UUID]:
    """Store a contest with its studies, which start at once. ``specs`` is what ``study_specs`` returned.

    Raises NameTaken for the contest's name or that of a study, InvalidSpec for an unknown study to start warm from.
    """
    created = stored.insert(tx, project, contest.name, contest.model_dump_json(exclude_unset=True))
    if created is None:
        raise NameTaken(f"there is a contest named {contest.name!r} already; choose another name")
    begun: list[UUID] = []
    for entry, spec in zip(contest.entries, specs, strict=True):
        try:
            begun.append(studies.create(tx, project, spec, start=True, contest=created).value)
        except InvalidSpec as invalid:
            errors = [replace(error, pointer=contest.origin(entry, error.pointer)) for error in invalid.errors]
            raise InvalidSpec(*errors) from invalid
    return Outcome(created, advance_all=tuple(begun))
