"""The dashboard's routes, in the order in which they are tried."""

from api.dashboard import assets
from api.dashboard.pages import account, compare, new_study, studies, study, study_verbs, trial, trials, workers

ROUTERS = (
    assets.router,
    account.router,
    compare.router,
    new_study.router,
    trials.router,
    trial.router,
    study.router,
    study_verbs.router,
    studies.router,
    workers.router,
)
