"""The rung log in Postgres: counts and order statistics of a study's rungs, under the study's row lock.

No question reads a whole rung. Each rung keeps its count and a finger: the key of its ``finger_rank``-th best entry.
An arrival below the finger raises the rank by one; asking for the k-th best walks the index from there (docs/adr/0007).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from hpo.schedulers.base import Action, Key, RungEntry, Standing
from hpo.schedulers.composed import Entered
from hpo.storage.batch import Batch, find, run

_LOAD = """
SELECT r.bracket, r.rung, r.entries, r.finger_rank, r.finger_loss, r.finger_seq, w.number, w.loss, w.seq
FROM rung r LEFT JOIN LATERAL (
  SELECT e.number, e.loss, e.seq FROM rung_entry e
  WHERE e.study_id = r.study_id AND e.bracket = r.bracket AND e.rung = r.rung AND e.waiting
  ORDER BY e.loss, e.seq LIMIT 1) w ON r.waiting > 0
WHERE r.study_id = %(study)s AND r.bracket >= 0"""

_LOAD_LANE = """
SELECT entries, finger_rank, finger_loss, finger_seq FROM rung
WHERE study_id = %(study)s AND bracket = %(bracket)s AND rung = %(rung)s"""

_ENTRIES = """
SELECT number, loss, vector, seq, waiting FROM rung_entry
WHERE study_id = %(study)s AND bracket = %(bracket)s AND rung = %(rung)s ORDER BY loss, seq"""

_AT = "study_id = %(study)s AND bracket = %(bracket)s AND rung = %(rung)s"
_ENTRY = f"SELECT loss, seq FROM rung_entry WHERE {_AT} AND number = %(number)s"
_BEST_WAITING = f"SELECT number, loss, seq FROM rung_entry WHERE {_AT} AND waiting ORDER BY loss, seq LIMIT 1"
_FROM_BEST = f"SELECT loss, seq FROM rung_entry WHERE {_AT} ORDER BY loss, seq OFFSET %(skip)s LIMIT 1"
_UP = f"""SELECT loss, seq FROM rung_entry WHERE {_AT} AND (loss, seq) > (%(loss)s, %(seq)s)
ORDER BY loss, seq OFFSET %(skip)s LIMIT 1"""
_DOWN = f"""SELECT loss, seq FROM rung_entry WHERE {_AT} AND (loss, seq) < (%(loss)s, %(seq)s)
ORDER BY loss DESC, seq DESC OFFSET %(skip)s LIMIT 1"""


@dataclass(slots=True)
class _Rung:
    entries: int = 0
    rank: int = 0
    key: Key | None = None
    best_waiting: RungEntry | None = None
    stored: bool = True  # has a row; a rung gets its own with the first entry
    moved: bool = False
    stale: bool = False  # best_waiting was promoted: the next best is looked up when it is asked for


class SqlRungLog:
    """A RungLog over the tables. Loaded at the first question, then kept in step with what this transaction writes.

    The study's row must be locked by then, and stay locked as long as the log is used.
    """

    def __init__(self, tx: Connection, study: UUID) -> None:
        self._tx = tx
        self._study = study
        self._loaded: dict[tuple[int, int], _Rung] | None = None

    def _rung(self, bracket: int, rung: int) -> _Rung:
        if self._loaded is None:
            self._loaded = self._load()
        known = self._loaded.get((bracket, rung))
        if known is None:
            known = self._loaded[bracket, rung] = self._lane(bracket, rung) if bracket < 0 else _Rung(stored=False)
        return known

    def _lane(self, bracket: int, rung: int) -> _Rung:
        """A rule's look, read by itself: there may be hundreds, and a report asks for one. Nobody waits there."""
        row: Any = find(self._tx, _LOAD_LANE, study=self._study, bracket=bracket, rung=rung)
        if row is None:
            return _Rung(stored=False)
        finger = Key(row.finger_loss, row.finger_seq) if row.finger_rank else None
        return _Rung(row.entries, row.finger_rank, finger)

    def _load(self) -> dict[tuple[int, int], _Rung]:
        rungs = {}
        for row in run(self._tx, _LOAD, study=self._study):
            waiting = None
            if row.number is not None:
                waiting = RungEntry(trial=row.number, bracket=row.bracket, rung=row.rung, loss=row.loss, seq=row.seq)
            finger = Key(row.finger_loss, row.finger_seq) if row.finger_rank else None
            rungs[row.bracket, row.rung] = _Rung(row.entries, row.finger_rank, finger, waiting)
        return rungs

    def count(self, bracket: int, rung: int) -> int:
        return self._rung(bracket, rung).entries

    def best_waiting(self, bracket: int, rung: int) -> RungEntry | None:
        state = self._rung(bracket, rung)
        if state.stale:
            row = find(self._tx, _BEST_WAITING, study=self._study, bracket=bracket, rung=rung)
            state.best_waiting = None if row is None else RungEntry(row.number, bracket, rung, row.loss, row.seq)
            state.stale = False
        return state.best_waiting

    def kth(self, bracket: int, rung: int, k: int) -> Key | None:
        state = self._rung(bracket, rung)
        if not 1 <= k <= state.entries:
            return None
        if k != state.rank:
            at: dict[str, Any] = {"study": self._study, "bracket": bracket, "rung": rung}
            if state.key is None:
                query, at["skip"] = _FROM_BEST, k - 1
            else:
                query, at["skip"] = (_UP, k - state.rank - 1) if k > state.rank else (_DOWN, state.rank - k - 1)
                at["loss"], at["seq"] = state.key
            row: Any = find(self._tx, query, **at)
            if row is None:  # a reader without the study's lock: an entry was taken back since it was counted
                return None
            state.rank, state.key, state.moved = k, Key(row.loss, row.seq), True
        return state.key

    def entries(self, bracket: int, rung: int) -> Sequence[Standing]:
        rows = run(self._tx, _ENTRIES, study=self._study, bracket=bracket, rung=rung)
        return [
            Standing(RungEntry(row.number, bracket, rung, row.loss, row.seq, tuple(row.vector or ())), row.waiting)
            for row in rows
        ]

    def add(self, batch: Batch, entered: Entered) -> None:
        """Write an arrival with its decision. Run the batch before asking for ``kth`` again."""
        entry, waiting = entered.entry, entered.waiting
        state = self._rung(entry.bracket, entry.rung)
        if not state.stored:
            create(batch, self._study, entry.bracket, [(entry.rung, entered.resource)])
            state.stored = True
        state.entries += 1
        if state.key is not None and entry.key < state.key:
            state.rank, state.moved = state.rank + 1, True
        if waiting and not state.stale and (state.best_waiting is None or entry.key < state.best_waiting.key):
            state.best_waiting = entry
        batch.add(
            "INSERT INTO rung_entry (study_id, bracket, rung, number, loss, vector, seq, decision, waiting) VALUES"
            " (%(study)s, %(bracket)s, %(rung)s, %(number)s, %(loss)s, %(vector)s, %(seq)s, %(decision)s, %(waiting)s)",
            study=self._study,
            bracket=entry.bracket,
            rung=entry.rung,
            number=entry.trial,
            loss=entry.loss,
            vector=list(entry.vector) if entry.vector else None,
            seq=entry.seq,
            decision=entered.action.value,
            waiting=waiting,
        )
        key = state.key
        batch.add(
            f"UPDATE rung SET entries = entries + 1, waiting = waiting + %(waiting)s, promoted = promoted + %(up)s,"
            f" finger_rank = %(rank)s, finger_loss = %(f_loss)s, finger_seq = %(f_seq)s WHERE {_AT}",
            study=self._study,
            bracket=entry.bracket,
            rung=entry.rung,
            waiting=int(waiting),
            up=int(entered.action is Action.CONTINUE),
            rank=state.rank,
            f_loss=key.loss if key else None,
            f_seq=key.seq if key else None,
        )
        state.moved = False

    def promote(self, batch: Batch, entry_rung: tuple[int, int], number: int) -> None:
        """Take a waiting trial out of its rung, upwards. Run the batch before asking for ``best_waiting`` again."""
        self._leave(batch, entry_rung, number, promoted=1)

    def leave(self, batch: Batch, entry_rung: tuple[int, int], number: int) -> None:
        """A waiting trial ends where it is. Run the batch before asking for ``best_waiting`` again."""
        self._leave(batch, entry_rung, number, promoted=0)

    def _leave(self, batch: Batch, entry_rung: tuple[int, int], number: int, *, promoted: int) -> None:
        bracket, rung = entry_rung
        at = {"study": self._study, "bracket": bracket, "rung": rung}
        self._rung(bracket, rung).stale = True
        batch.add(f"UPDATE rung_entry SET waiting = false WHERE {_AT} AND number = %(number)s", number=number, **at)
        batch.add(f"UPDATE rung SET waiting = waiting - 1, promoted = promoted + %(up)s WHERE {_AT}", up=promoted, **at)

    def remove(self, batch: Batch, entry_rung: tuple[int, int], number: int) -> bool:
        """Take back the entry of a trial that ended on its way, as if it had never come; False if there is none.

        Run the batch before asking for ``kth`` again.
        """
        bracket, rung = entry_rung
        at: dict[str, Any] = {"study": self._study, "bracket": bracket, "rung": rung}
        row: Any = find(self._tx, _ENTRY, number=number, **at)
        if row is None:
            return False
        state, key = self._rung(bracket, rung), Key(row.loss, row.seq)
        state.entries -= 1
        if state.key is not None and key <= state.key:
            # Where the finger itself goes, the next question counts from the best again.
            state.rank, state.key = (0, None) if key == state.key else (state.rank - 1, state.key)
        batch.add(f"DELETE FROM rung_entry WHERE {_AT} AND number = %(number)s", number=number, **at)
        batch.add(
            f"UPDATE rung SET entries = entries - 1, finger_rank = %(rank)s, finger_loss = %(f_loss)s,"
            f" finger_seq = %(f_seq)s WHERE {_AT}",
            rank=state.rank,
            f_loss=state.key.loss if state.key else None,
            f_seq=state.key.seq if state.key else None,
            **at,
        )
        state.moved = False
        return True

    def flush(self, batch: Batch) -> None:
        """Keep the fingers where the questions left them, so that the next decision starts there."""
        for (bracket, rung), state in (self._loaded or {}).items():
            if state.moved:
                assert state.key is not None
                batch.add(
                    "UPDATE rung SET finger_rank = %(rank)s, finger_loss = %(loss)s, finger_seq = %(f_seq)s"
                    f" WHERE {_AT}",
                    study=self._study,
                    bracket=bracket,
                    rung=rung,
                    rank=state.rank,
                    loss=state.key.loss,
                    f_seq=state.key.seq,
                )
                state.moved = False


def wait_again(batch: Batch, study: UUID, place: tuple[int, int], numbers: Sequence[int]) -> None:
    """Trials that ended while they waited at a (bracket, rung) wait there again."""
    at = {"study": study, "bracket": place[0], "rung": place[1]}
    batch.add(
        f"UPDATE rung_entry SET waiting = true WHERE {_AT} AND number = ANY(%(numbers)s)", numbers=list(numbers), **at
    )
    batch.add(f"UPDATE rung SET waiting = waiting + %(more)s WHERE {_AT}", more=len(numbers), **at)


def create(batch: Batch, study: UUID, bracket: int, levels: Iterable[tuple[int, int]]) -> None:
    """One row per rung and its resource; a rung that is there already stays as it is."""
    for rung, resource in levels:
        batch.add(
            "INSERT INTO rung (study_id, bracket, rung, resource)"
            " VALUES (%(study)s, %(bracket)s, %(rung)s, %(resource)s) ON CONFLICT DO NOTHING",
            study=study,
            bracket=bracket,
            rung=rung,
            resource=resource,
        )
