"""What a deleted study held goes away bit by bit, and an interruption at any moment leaves nothing behind."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from hpo.checkpoints.filesystem import FilesystemStore
from hpo.domain.errors import NotFound
from hpo.lifecycle import purge, retire
from hpo.settings import Settings
from hpo.storage import studies
from hpo.storage.tables import Base
from tests.audit import audit
from tests.integration.repository import Repository
from workers.control import Control

ASHA = {"type": "asha", "max_resource": 9}


@pytest.fixture
def repository(postgres_url: str) -> Iterator[Repository]:
    repository = Repository.on(postgres_url)
    yield repository
    repository.db.engine.dispose()


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    return FilesystemStore(tmp_path / "store")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that a study of a few trials takes many."""
    monkeypatch.setattr(purge, "TRIALS", 2)
    monkeypatch.setattr(purge, "ROWS", 3)


def _searched(repository: Repository, store: FilesystemStore, **changes: Any) -> UUID:
    """A study with rows in every table that a study has, one file in the store that no row names, none running."""
    study = repository.create(scheduler=ASHA, budget={"max_trials": 5}, **changes)
    for loss in (0.5, 0.4, 0.3, 0.2):
        held = repository.claim(study)
        store.put(study, held.number, held.lease, step=1, stream=io.BytesIO(b"weights"))
        repository.report(held, 1, loss)
        repository.execute(
            "INSERT INTO log_line (trial_id, attempt, position, stream, text)"
            " SELECT id, 1, n, 'out', 'line' FROM trial, generate_series(1, 4) n WHERE lease_id = %(lease)s OR"
            " study_id = %(study)s AND number = %(number)s",
            lease=held.lease,
            study=study,
            number=held.number,
        )
        repository.advance(study)
        if repository.trial(held).state == "running":
            repository.release(held, step=1)
    repository.execute(
        "INSERT INTO enqueued (study_id, params) VALUES (%(study)s, '{}'); INSERT INTO analysis (study_id, kind, key,"
        " state, question, basis) VALUES (%(study)s, 'importance', 'k', 'waiting', '{}', 1)",
        study=study,
    )
    return study


def _delete(repository: Repository, study: UUID, *, force: bool = True) -> None:
    repository.db.write(lambda tx: retire.delete(tx, repository.project, study, force=force, revision=None))


def _rows(repository: Repository) -> dict[str, int]:
    """The tables that hold something, with how many rows."""
    found = {name: repository.one(f"SELECT count(*) AS n FROM {name}").n for name in Base.metadata.tables}
    return {name: count for name, count in found.items() if count}


class Interrupted(Exception):
    pass


class Breaking(FilesystemStore):
    """Fails after so many removals, as a process that is killed does."""

    left = 0

    def delete_trial(self, study: UUID, number: int) -> None:
        if Breaking.left == 0:
            raise Interrupted
        Breaking.left -= 1
        super().delete_trial(study, number)


def test_nothing_of_a_deleted_study_is_left_and_all_of_another(repository: Repository, store: FilesystemStore) -> None:
    other = repository.create(name="other", scheduler=ASHA, budget={"max_trials": 1})
    repository.command(other, "pause")
    before = _rows(repository)
    study = _searched(repository, store)
    filled = _rows(repository)
    assert filled.keys() >= {"report", "rung_entry", "attempt", "event", "log_line", "checkpoint", "trial", "analysis"}
    _delete(repository, study)
    steps = 0
    while purge.purge(repository.db, store, batches=1):
        steps += 1
        with pytest.raises(NotFound):
            repository.db.read(lambda tx: studies.resolve(tx, repository.project, "study"))
    assert steps > 10
    assert _rows(repository) == before
    assert list(store.root.iterdir()) == []
    assert audit(repository.url) == []


@pytest.mark.parametrize("after", [0, 1, 3])
def test_whoever_goes_on_after_an_interruption_finds_all_that_is_left(
    repository: Repository, store: FilesystemStore, after: int
) -> None:
    _delete(repository, _searched(repository, store))
    Breaking.left = after
    with pytest.raises(Interrupted):
        purge.purge(repository.db, Breaking(store.root), batches=1000)
    assert purge.purge(repository.db, store, batches=1000) > 0
    assert _rows(repository).keys() == {"project"}
    assert list(store.root.iterdir()) == []


def test_a_study_whose_files_cannot_be_removed_holds_up_no_other(
    repository: Repository, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _searched(repository, store)
    _delete(repository, first)
    second = _searched(repository, store)
    _delete(repository, second)

    def delete_trial(self: FilesystemStore, study: UUID, number: int) -> None:
        if study == first:
            raise PermissionError("the volume is read-only")
        whole(self, study, number)

    whole = FilesystemStore.delete_trial
    monkeypatch.setattr(FilesystemStore, "delete_trial", delete_trial)
    purge.purge(repository.db, store, batches=1000)
    assert repository.one("SELECT id FROM study").id == first
    monkeypatch.undo()
    purge.purge(repository.db, store, batches=1000)
    assert _rows(repository).keys() == {"project"}


def test_a_batch_that_is_not_committed_is_done_again(
    repository: Repository, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _delete(repository, _searched(repository, store))
    whole = purge._delete_trials

    def killed(tx: Any, trials: Any) -> None:
        whole(tx, trials)
        raise Interrupted

    monkeypatch.setattr(purge, "_delete_trials", killed)
    before = _rows(repository)
    with pytest.raises(Interrupted):
        purge.purge(repository.db, store, batches=1)
    assert _rows(repository) == before
    monkeypatch.undo()
    purge.purge(repository.db, store, batches=1000)
    assert _rows(repository).keys() == {"project"}


def test_nothing_is_removed_while_a_worker_still_trains(repository: Repository, store: FilesystemStore) -> None:
    study = _searched(repository, store)
    repository.execute("UPDATE study SET max_trials = 50 WHERE id = %(id)s", id=study)
    repository.advance(study)
    held = repository.claim(study)
    _delete(repository, study)
    assert purge.purge(repository.db, store, batches=10) == 0
    repository.release(held)
    assert purge.purge(repository.db, store, batches=1000) > 0
    assert _rows(repository).keys() == {"project"}


def test_a_study_goes_with_those_that_confirm_it(repository: Repository, store: FilesystemStore) -> None:
    study, child = _searched(repository, store), _searched(repository, store, name="study.confirm")
    repository.execute("UPDATE study SET confirms = %(study)s WHERE id = %(child)s", study=study, child=child)
    _delete(repository, study)
    with pytest.raises(NotFound):
        repository.db.read(lambda tx: studies.resolve(tx, repository.project, str(child)))
    purge.purge(repository.db, store, batches=1000)
    assert _rows(repository).keys() == {"project"}
    assert list(store.root.iterdir()) == []


def test_a_deleted_study_is_not_moved_on(repository: Repository, store: FilesystemStore) -> None:
    study = _searched(repository, store)
    _delete(repository, study)
    with pytest.raises(NotFound):
        repository.advance(study)
    assert repository.try_claim(study, claim_id=uuid4()) is None


def test_control_removes_it_with_its_sweeps(
    repository: Repository, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _delete(repository, _searched(repository, store))
    repository.execute("DELETE FROM analysis")
    monkeypatch.setattr("workers.control.PURGED_AT_ONCE", 1000)
    control = Control(Settings(database_url=SecretStr(repository.url), checkpoint_root=store.root))
    try:
        control.sweep()
    finally:
        control.end()
    assert _rows(repository).keys() == {"project"}
    assert list(store.root.iterdir()) == []


def test_a_study_that_is_deleted_during_a_sweep_holds_up_no_other(
    repository: Repository, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _searched(repository, store)
    gone = repository.create(name="gone", scheduler=ASHA, budget={"max_trials": 1})
    _delete(repository, gone)
    advanced: list[UUID] = []
    monkeypatch.setattr("hpo.lifecycle.sweep.restless", lambda tx: [gone, study])
    control = Control(Settings(database_url=SecretStr(repository.url), checkpoint_root=store.root))
    advance = control.advance

    def noted(one: UUID) -> None:
        advanced.append(one)
        advance(one)

    monkeypatch.setattr(control, "advance", noted)
    try:
        control.sweep()
    finally:
        control.end()
    assert advanced == [gone, study]
