"""What can be waited for: how far a study has come."""

import re
from dataclasses import dataclass
from typing import Self

from api.schemas.studies import StudyRead
from hpo.domain.study import STUDY_ENDED, StudyState
from hpo.domain.trial import TRIAL_ENDED

KINDS = ("ended", "finished", "goal", "confirmed")
_TRIALS = re.compile(r"trials=([1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True)
class Target:
    """``kind`` is one of KINDS, or "trials" with how many must have ended."""

    kind: str
    trials: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError if it is none."""
        if text in KINDS:
            return cls(text)
        if found := _TRIALS.fullmatch(text):
            return cls("trials", int(found[1]))
        raise ValueError(f"what can be waited for is {', '.join(KINDS)} or trials=N, got {text!r}")

    def reached(self, info: StudyRead) -> bool:
        match self.kind:
            case "goal":
                return goal_reached(info)
            case "confirmed":
                return info.confirmation is not None and info.confirmation.state == "finished"
            case "finished":
                return info.state is StudyState.FINISHED
            case "trials":
                return ended_trials(info) >= self.trials
        return info.state in STUDY_ENDED

    def never(self, info: StudyRead) -> str | None:
        """Why it will never be reached; None while it may."""
        if self.kind == "confirmed":
            return unconfirmed(info)
        if info.state not in STUDY_ENDED:
            return None
        ended = f"study {info.name} ended {info.state}"
        match self.kind:
            case "goal":
                return f"{ended} without reaching its goal"
            case "finished":
                return ended
        return f"{ended} after {ended_trials(info)} trials"


def ended_trials(info: StudyRead) -> int:
    return sum(count for state, count in info.counts.model_dump().items() if state in TRIAL_ENDED)


def goal_reached(info: StudyRead) -> bool:
    """Whether the best value is at least as good as the goal; False without a goal."""
    goal = info.objective.goal
    if goal is None or info.best is None:
        return False
    return info.objective.loss(info.best.value) <= info.objective.loss(goal)


def unconfirmed(info: StudyRead) -> str | None:
    """Why the winners of the study will never be confirmed; None while they may be, or are."""
    if info.confirm is None:
        return f"study {info.name} does not ask to be confirmed"
    if info.confirmation is not None and info.confirmation.state == "failed":
        return f"the winners of study {info.name} were not confirmed: {info.confirmation.reason}"
    if info.state in STUDY_ENDED and info.state is not StudyState.FINISHED:
        return f"study {info.name} ended {info.state}, its winners unconfirmed"
    return None
