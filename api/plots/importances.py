"""Importances as Optuna draws them, with the method named: the methods ask different questions."""

from optuna.visualization._param_importances import _get_importances_plot, _ImportancesInfo

from api.plots.figure import Drawn, traces_of
from api.plots.seen import Seen
from hpo.analysis.frozen_study import FrozenStudy, frozen, shown_distribution
from hpo.analysis.importance import searched
from hpo.analysis.observations import Observation
from hpo.domain.trial import TrialState
from hpo.lifecycle.analyses import Answered, Question
from hpo.space.definition import Space

METHODS = {"ped_anova": "PED-ANOVA", "fanova": "fANOVA", "mdi": "mean decrease in impurity"}
MOST = 30  # bars


def draw_importance(seen: Seen, question: Question, answered: Answered) -> Drawn:
    found = answered.found
    if answered.waiting and found is None:
        reason = f"{METHODS[question.method]} is being computed: ask again in a moment"
        return Drawn(n_trials=seen.head.next_number, reason=reason)
    assert found is not None
    if not found.values:
        return Drawn(n_trials=found.n_trials, reason=found.reason, at_step=answered.at_step)
    space = Space.of(seen.spec)
    top = dict(list(found.values.items())[:MOST])
    metric = seen.spec.objectives[question.objective].metric
    info = _ImportancesInfo(
        importance_values=list(top.values())[::-1],  # plotly draws from below
        param_names=list(top)[::-1],
        importance_labels=[f"{value:.2f}" if value >= 0.01 else "<0.01" for value in top.values()][::-1],
        target_name=metric,
    )
    # Optuna reads the kinds of the parameters from the trials of the study.
    kinds = {param.name: shown_distribution(param) for param in searched(space)}
    named = frozen(Observation(0, {}, (0.0,), TrialState.COMPLETE, 0), {}, kinds, constrained=False)
    study = FrozenStudy([named], [seen.spec.objectives[question.objective]])
    data, layout = traces_of(_get_importances_plot((info,), study))
    told = f"{METHODS[question.method]} for {metric}, n = {found.n_trials}"
    longest = max(top.values(), default=0.0) or 1.0
    # There is room for the figure at the end of the longest bar.
    layout["xaxis"] = {"title": {"text": f"share by {told}"}, "range": [0, 1.15 * longest]}
    layout["yaxis"] = {"type": "category"}
    return Drawn(
        data,
        layout,
        n_trials=found.n_trials,
        shown=found.n_trials,
        reason=found.reason,
        at_step=answered.at_step,
        params=tuple(top),
    )
