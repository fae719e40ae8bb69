"""What a study has found, over HTTP: rungs, best trials, importances, figures, files, its log."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from api.schemas.analysis import Comparison, ImportanceRead
from api.schemas.records import CurveRead, WarmStartRead
from api.schemas.studies import BestList, BestTrial, ConfirmationRead, ParetoFront, RungList, RungRead
from api.schemas.trials import EventRead
from ladder.calls import Answer, Calls, given, study_path
from ladder.curves import curves
from ladder.errors import WaitTimeout
from ladder.events import follow as stream
from ladder.http import API, Params
from ladder.plots import Plot

Method = Literal["ped_anova", "fanova", "mdi"]
What = Literal["trials", "metrics", "decisions"]
Format = Literal["csv", "jsonl", "parquet", "optuna"]
PATIENCE_S = 300.0  # for importances that are computed in the background


class ResultCalls(Calls):
    """Results of a study; ``study`` is an id or a name."""

    def rungs(self, study: str) -> list[RungRead]:
        return self._get(f"{study_path(study)}/rungs", RungList).items

    def best(self, study: str, *, top: int = 1) -> list[BestTrial]:
        """The best trials, best first; fewer than ``top`` while fewer have a value."""
        return self._get(f"{study_path(study)}/best", BestList, {"top": top}).items

    def confirmed(self, study: str) -> ConfirmationRead:
        """What became of the winners, trained anew. Raises ApiError ``not_confirmed`` saying why there is nothing."""
        return self._get(f"{study_path(study)}/best", ConfirmationRead, {"confirmed": "true"})

    def pareto(self, study: str) -> ParetoFront:
        """The trials that no other beats in every objective, and their hypervolume."""
        return self._get(f"{study_path(study)}/pareto", ParetoFront)

    def importance(
        self,
        study: str,
        *,
        method: Method = "ped_anova",
        objective: int = 0,
        n_max: int | None = None,
        timeout_s: float = PATIENCE_S,
    ) -> ImportanceRead:
        """How much each parameter matters; waits where it is computed in the background.

        Without enough trials ``values`` is empty and ``reason`` says why. Raises WaitTimeout after ``timeout_s``.
        """
        params = given(method=method, objective=objective, n_max=n_max)
        return self._computed(f"{study_path(study)}/importance", ImportanceRead, params, timeout_s)

    def plot(
        self,
        study: str,
        kind: str,
        *,
        params: str | None = None,
        objective: int | None = None,
        method: str | None = None,
        trials: str | None = None,
        metric: str | None = None,
        timeout_s: float = PATIENCE_S,
    ) -> Plot:
        """A figure: history, curves, parallel, slice, contour, rank, timeline, edf, pareto, hypervolume, importance.

        ``params`` and ``trials`` are names and numbers separated by commas. Raises WaitTimeout if it is not computed
        after ``timeout_s``, which only importances may need.
        """
        asked = given(params=params, objective=objective, method=method, trials=trials, metric=metric)
        return self._computed(f"{study_path(study)}/plots/{quote(kind, safe='')}", Plot, asked, timeout_s)

    def compare(self, *, trials: Sequence[str] = (), studies: Sequence[str] = ()) -> Comparison:
        """Up to 20 trials, each ``study/number``, or studies side by side, and the parameters in which they differ."""
        return self._get(f"{API}/compare", Comparison, _compared(trials, studies))

    def compare_plot(self, *, trials: Sequence[str] = (), studies: Sequence[str] = (), x: str | None = None) -> Plot:
        """The trials' curves, or the studies' best so far, over each other; ``x``: trials, epochs, wall, gpu_hours."""
        return self._get(f"{API}/plots/compare", Plot, {**_compared(trials, studies), **given(x=x)})

    def export(self, study: str, to: Path, *, what: What = "trials", format: Format = "csv") -> Path:
        """Write the study's trials, metrics or decisions into the file ``to``, which is there whole or not at all."""
        unfinished = to.with_name(f"{to.name}.part")
        try:
            with unfinished.open("wb") as file:
                for chunk in self.export_chunks(study, what=what, format=format):
                    file.write(chunk)
            return unfinished.replace(to)
        finally:
            unfinished.unlink(missing_ok=True)

    def export_chunks(self, study: str, *, what: What = "trials", format: Format = "csv") -> Iterator[bytes]:
        """The export as it comes. Raises Unreachable when it breaks: its parts cannot be asked for again."""
        return self._http.stream(f"{study_path(study)}/export?what={what}&format={format}")

    def events(self, study: str, *, after: int | None = None, follow: bool = True) -> Iterator[EventRead]:
        """The study's events after ``after`` as they happen; resumes by itself, ends when the study has ended.

        Without ``follow`` it ends after the events that are there now.
        """
        return stream(self._http, study_path(study), after=after, retries=self._http.retries, live=follow)

    def curves(self, study: str) -> Iterator[CurveRead]:
        """The curves of all trials by number, as they come; resumes by itself where the stream breaks."""
        return curves(self._http, f"{study_path(study)}/curves", retries=self._http.retries)

    def warm_start(self, study: str) -> WarmStartRead:
        """The trials of earlier studies that it began with; none without a warm start."""
        return self._get(f"{study_path(study)}/warm-start", WarmStartRead)

    def _computed(self, path: str, answer: type[Answer], params: Params, timeout_s: float) -> Answer:
        """What may take a while to compute: 202 until it is there."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = self._http.request("GET", path, params=params)
            if found.status != 202:
                return answer.model_validate_json(found.content)
            wait_s = float(found.headers.get("retry-after", "1"))
            if time.monotonic() + wait_s > deadline:
                raise WaitTimeout(f"{path} is not computed after {timeout_s:g} s")
            time.sleep(wait_s)


def _compared(trials: Sequence[str], studies: Sequence[str]) -> Params:
    return given(t=",".join(trials) or None, s=",".join(studies) or None)
