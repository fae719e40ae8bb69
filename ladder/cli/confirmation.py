"""A confirmation on the terminal: what the winners promised, what they kept, and the score on the test part."""

from typing import TYPE_CHECKING

from ladder.cli.output import number, params, say, table

if TYPE_CHECKING:
    from api.schemas.studies import ConfirmationRead, SealedScore


def show_confirmation(found: "ConfirmationRead") -> None:
    chosen = found.recommendation
    rows = [
        (
            "*" if chosen is not None and one.params == chosen.params else "",
            *(one.trial, number(one.search_value), interval(one.mean, one.ci95), number(one.gap), one.n, one.failed),
            params(one.params),
        )
        for one in found.candidates
    ]
    table(("", "trial", "search value", "mean ± 95 % CI", "gap", "n", "failed", "params"), rows)
    if chosen is not None:
        say(f"recommended: {params(chosen.params)}")
    if chosen is not None and chosen.final_trial is not None:
        at = "" if chosen.checkpoint is None else f", checkpoint of step {chosen.checkpoint.step}"
        say(f"final model: trial {chosen.final_trial} of {found.study}, trained on {_learned(found)}{at}")
    if found.test is not None:
        say(f"test part: {_score(found.test)}")
    if found.state == "failed":
        say(f"not confirmed: {found.reason}")


def interval(mean: float | None, half: float | None) -> str | None:
    """A mean with half the width of its interval; of a single value, the value."""
    return number(mean) if half is None else f"{number(mean)} ± {number(half)}"


def _learned(found: "ConfirmationRead") -> str:
    return "train and validation" if found.train_on == "train_and_validation" else "train"


def _score(test: "SealedScore") -> str:
    told = []
    if test.acc is not None:
        bounds = "" if test.acc_low is None else f" (95 % CI {number(test.acc_low)} to {number(test.acc_high)})"
        told.append(f"accuracy {number(test.acc)}{bounds}")
    if test.loss is not None:
        told.append(f"loss {number(test.loss)}")
    return ", ".join(told) + ("" if test.images is None else f" on {test.images} images")
