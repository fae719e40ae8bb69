"""What a page of trials asks for: filters, order and place in the list, as its address says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from api.answers import page_token, read_token
from api.schemas.studies import Counts
from api.trial_filters import condition, order
from hpo.domain.errors import FieldError, InvalidSpec, Malformed
from hpo.domain.trial import TrialState
from hpo.spec.study import StudySpec
from hpo.storage import trials
from hpo.storage.trials import Condition, Order


@dataclass(frozen=True, slots=True)
class Found:
    """A page of trials; ``first`` counts from 1 in the whole list."""

    rows: Sequence[Row[Any]]
    first: int
    next_token: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """``refused`` says what is wrong with conditions that are left out; ``order_by`` is never empty."""

    states: Sequence[TrialState]
    rung: int | None
    where: Sequence[str]
    conditions: Sequence[Condition]
    refused: Sequence[FieldError]
    order_by: str
    order: Order

    @classmethod
    def of(
        cls, spec: StudySpec, *, states: Sequence[TrialState], rung: str, where: Sequence[str], order_by: str
    ) -> "Asked":
        conditions: list[Condition] = []
        refused: list[FieldError] = []
        for text in where:
            try:
                conditions.append(condition(text, spec))
            except InvalidSpec as error:
                refused += error.errors
        usual = "-value" if spec.objective.direction == "maximize" else "value"
        try:
            by, column = order_by or usual, order(order_by or usual, spec)
        except InvalidSpec as error:
            refused += error.errors
            by, column = usual, order(usual, spec)
        return cls(states, int(rung) if rung else None, where, conditions, refused, by, column)

    @property
    def filters(self) -> dict[str, Any]:
        states = sorted(one.value for one in self.states)
        return {"state": states, "rung": self.rung, "where": list(self.where), "order_by": self.order_by}

    def page(self, tx: Connection, study: UUID, after: str | None, *, limit: int) -> Found:
        """Raises Malformed for a token that is not of this list."""
        token = read_token({"study": study, **self.filters}, after)
        first, key = (1, None) if token is None else _key(token, self.order)
        rows = trials.page(
            tx,
            study,
            states=[one.value for one in self.states],
            rung=self.rung,
            where=self.conditions,
            order=self.order,
            after=key,
            limit=limit + 1,
        )
        if len(rows) <= limit:
            return Found(rows, first, None)
        past = trials.key_of(rows[limit - 1], self.order)
        return Found(rows[:limit], first, page_token({"study": study, **self.filters}, (first + limit, *past)))

    def count(self, counts: Counts) -> int | None:
        """How many trials there are in the list, where the study's kept counts tell."""
        if self.rung is not None or self.conditions:
            return None
        kept = counts.model_dump()
        return sum(int(kept[state.value]) for state in self.states or TrialState)


def _key(token: list[Any], by: Order) -> tuple[int, tuple[Any, ...]]:
    """Place in the list, and the key of the row before."""
    if len(token) < 2 or type(token[0]) is not int or not 0 < token[0] < 2**31 or not trials.is_key(token[1:], by):
        raise Malformed("the page's address is not one that was given")
    return token[0], tuple(token[1:])
