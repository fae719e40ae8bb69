"""The audit finds what it is there to find: each row is changed behind the service's back, one promise at a time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo.domain.merit import WORST
from tests.audit import audit
from tests.integration.repository import Repository

RUNNING = "WHERE state = 'running'"
DONE = "WHERE number = (SELECT min(number) FROM trial WHERE state = 'complete')"

BROKEN = {
    "a trial is lost": ("DELETE FROM trial WHERE number = 2", "I1"),
    "a trial appears from nowhere": ("DELETE FROM event WHERE type = 'trial-created' AND number = 1", "I1"),
    "a live attempt has no trial": ("UPDATE attempt SET ended_at = NULL, end_class = NULL WHERE attempt = 1", "I2"),
    "an attempt is missing": ("DELETE FROM attempt", "I2"),
    "the lease is not the attempt's": (f"UPDATE trial SET lease_id = gen_random_uuid() {RUNNING}", "I2"),
    "attempts overlap": ("UPDATE attempt SET ended_at = ended_at + interval '1 h' WHERE attempt = 1", "I2"),
    "a report came under another lease": ("UPDATE report SET lease_id = gen_random_uuid() WHERE step = 1", "I3"),
    "a report came after its lease": ("UPDATE report SET at = at + interval '1 h' WHERE step = 1", "I3"),
    "a report is of another attempt's steps": ("UPDATE attempt SET start_step = start_step + 1", "I3"),
    "a checkpoint came under another lease": ("UPDATE checkpoint SET lease_id = gen_random_uuid()", "I3"),
    "a step is missing": (f"DELETE FROM report WHERE trial_id = (SELECT id FROM trial {DONE}) AND step = 9", "I4"),
    "spent is off": ("UPDATE study SET spent = spent + 1", "I4"),
    "the counters are off": ("UPDATE study SET pruned = pruned + 1, paused = paused - 1", "I4"),
    "the device seconds are off": ("UPDATE study SET device_seconds = device_seconds + 60", "I4"),
    "the trial's loss is another": (f"UPDATE trial SET loss = loss + 1 {DONE}", "I4"),
    "reserved is off": ("UPDATE study SET reserved = reserved + 1", "I5"),
    "a decision is another": ("UPDATE rung_entry SET decision = 'stop' WHERE decision = 'pause' AND rung = 0", "I6"),
    "a decision is another, in the log too": (
        "UPDATE rung_entry SET decision = 'complete' WHERE decision = 'pause';"
        " UPDATE event SET data = data || '{\"decision\": \"complete\"}' WHERE data->>'decision' = 'pause'",
        "I6",
    ),
    "an entry's loss is another": ("UPDATE rung_entry SET loss = loss - 1 WHERE rung = 1", "I6"),
    "a look of a rule is another": ("UPDATE rung_entry SET loss = loss + 1 WHERE bracket = -1", "I6: the entry"),
    "who ended on its way is missing in its rung": (f"DELETE FROM rung_entry WHERE loss = {WORST!r}", "I6: the entry"),
    "the log enters nobody who ended on its way": (
        "UPDATE event SET data = data - 'dropped_at' WHERE data->>'dropped_at' IS NOT NULL",
        "I6: at event",
    ),
    "a decision's loss was not reported": (
        "UPDATE event SET data = data || '{\"loss\": 0.5}' WHERE data->>'decision' = 'pause'",
        "by a loss that was not reported",
    ),
    "a trial's params are others": ("UPDATE trial SET params = '{\"x\": 0.9}' WHERE number = 0", "I1"),
    "a rung is of another resource": ("UPDATE rung SET resource = resource + 1 WHERE rung = 1", "I6: the entry"),
    "a rung's count is off": ("UPDATE rung SET entries = entries + 1 WHERE rung = 0", "I6"),
    "a paused trial does not wait": ("UPDATE rung_entry SET waiting = false", "I6"),
    "a promotion is not counted": ("UPDATE rung SET promoted = 0", "I6"),
    "a finger points elsewhere": ("UPDATE rung SET finger_seq = finger_seq + 1 WHERE finger_rank > 0", "I6"),
    "a promotion is of another trial": (
        "UPDATE event SET number = (SELECT max(number) FROM trial WHERE state = 'paused')"
        " WHERE type = 'trial-promoted' AND data->>'rung' = '1'",
        "I6: at event",
    ),
    "a terminal trial goes on": (
        "INSERT INTO event (study_id, seq, type, number, data) SELECT t.study_id, s.last_seq + 1, 'trial-started',"
        " t.number, '{}' FROM trial t JOIN study s ON s.id = t.study_id WHERE t.state = 'complete';"
        " UPDATE study SET last_seq = last_seq + 1",
        "I7",
    ),
    "the log ends in another state": ("DELETE FROM event WHERE type = 'trial-finished'", "I7"),
    "the log has a gap": ("DELETE FROM event WHERE seq = (SELECT max(seq) - 1 FROM event)", "the events"),
}


@pytest.fixture
def repository(postgres_url: str) -> Iterator[Repository]:
    """A study with trials that are complete, paused, promoted, running, resumed and failed; its record is clean."""
    repository = Repository.on(postgres_url)
    rule = {"type": "threshold", "upper": 100.0, "grace": 2, "interval": 3}
    study = repository.create(budget={"max_trials": 40}, pruners=[rule])
    while repository.one("SELECT complete FROM study").complete == 0:
        held = repository.claim(study)
        if held.number == 1 and held.attempt == 1:
            repository.release(held, step=1)
            held = repository.claim(study)
        target: int | None = held.target_step
        if held.number == 2:
            repository.fail(held, "user_error")
            target = None
        while target is not None:
            answer = repository.report(held, target, held.number / 100 + 1 / target)
            target = answer.target_step if answer.decision == "continue" else None
        repository.advance(study)
    repository.claim(study)
    assert audit(postgres_url) == []
    yield repository
    repository.db.engine.dispose()


@pytest.mark.parametrize("what", BROKEN)
def test_the_audit_notices_when(repository: Repository, what: str) -> None:
    statement, expected = BROKEN[what]
    repository.execute(statement)
    found = audit(repository.url)
    assert any(expected in violation for violation in found), found


def test_the_audit_notices_when_a_checkpoint_is_not_in_the_store(repository: Repository, tmp_path: Path) -> None:
    assert any("I8" in violation for violation in audit(repository.url, checkpoint_root=tmp_path))
