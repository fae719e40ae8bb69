"""The dashboard's routes, in the order in which they are tried."""

from api.dashboard import assets
from api.dashboard.pages import account, studies

ROUTERS = (assets.router, account.router, studies.router)
