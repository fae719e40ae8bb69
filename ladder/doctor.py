"""What ``ladder doctor`` looks at: one check per thing that Ladder needs, each with what to do when it fails."""

import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hpo.settings import Settings
from ladder.errors import ApiError, Unreachable
from ladder.home import connection
from ladder.http import Http

LEAST_DISK_BYTES = 1 << 30
WORST_SKEW_S = 5.0
_TORCH = """
import torch
print(torch.__version__)
for index in range(torch.cuda.device_count()):
    print(torch.cuda.get_device_name(index))
"""


@dataclass(frozen=True, slots=True)
class Check:
    """``ok`` is None where the check does not apply here."""

    name: str
    ok: bool | None
    found: str
    hint: str = ""

    def as_object(self) -> dict[str, Any]:
        return asdict(self)


def examine(settings: Settings) -> list[Check]:
    """Run all checks that make sense for what is installed and configured here."""
    return [
        *_api(*connection(None, None)),  # as any client: the settings may hold a worker's key
        *_postgres(settings),
        _redis(settings),
        _disk(settings.checkpoint_root.expanduser()),
        _device(),
        _versions(),
    ]


def _api(url: str, token: str | None) -> list[Check]:
    http = Http(url, token, timeout_s=5, retries=0)
    try:
        try:
            answer = http.request("GET", "/readyz")
        except Unreachable as error:
            answered = error.status != 0
            hint = "read the API's log" if answered else "start it with `ladder up`, or set LADDER_URL"
            return [Check("api", False, str(error), hint)]
        checks = [Check("api", True, url), _clock(answer.headers.get("date"))]
        try:
            http.request("GET", "/api/v1/studies", params={"page_size": 1})
        except ApiError as error:
            return [*checks, Check("token", False, str(error), "set LADDER_TOKEN; `ladder token create` makes one")]
        return [*checks, Check("token", True, "accepted")]
    except ApiError as error:
        return [Check("api", False, f"{url} answers {error.status}: {error}", "is LADDER_URL a Ladder API?")]
    finally:
        http.close()


def _clock(date: str | None) -> Check:
    if date is None:
        return Check("clock", None, "the API sent no date")
    skew_s = abs(time.time() - parsedate_to_datetime(date).timestamp())
    hint = "synchronise the clocks (NTP); Ladder itself trusts the database's only"
    return Check("clock", skew_s <= WORST_SKEW_S, f"{skew_s:.0f} s from the API's", hint)


def _postgres(settings: Settings) -> list[Check]:
    if settings.database_url is None:
        return [Check("postgres", None, "LADDER_DATABASE_URL is not set here; api and control need it")]
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError, DBAPIError

    from hpo.storage.migrate import current, head

    try:
        engine = create_engine(settings.database_url.get_secret_value(), connect_args={"connect_timeout": 5})
        with engine.connect() as tx:
            release = str(tx.exec_driver_sql("SHOW server_version").scalar_one())
            revision = current(tx)
        engine.dispose()
    except ArgumentError:
        return [
            Check("postgres", False, "LADDER_DATABASE_URL is no database URL", "postgresql+psycopg2://user@host/ladder")
        ]
    except DBAPIError as error:
        return [
            Check("postgres", False, str(error.orig).strip().splitlines()[0], "is it running, and reachable from here?")
        ]
    found = f"{revision or 'no schema'}, this release wants {head()}"
    return [Check("postgres", True, release), Check("migrations", revision == head(), found, "ladder db upgrade")]


def _redis(settings: Settings) -> Check:
    if find_spec("redis") is None:
        return Check("redis", None, "its client is not installed here; workers and servers need it")
    import redis

    try:
        client = redis.Redis.from_url(
            settings.redis_url.get_secret_value(), socket_timeout=3, socket_connect_timeout=3, retry=None
        )
        release = client.info("server")["redis_version"]
        client.close()
    except (redis.RedisError, ValueError) as error:
        return Check("redis", False, str(error), "is it running, and is LADDER_REDIS_URL right?")
    return Check("redis", True, str(release))


def _disk(root: Path) -> Check:
    existing = next(path for path in (root, *root.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    return Check(
        "disk", free >= LEAST_DISK_BYTES, f"{free / 2**30:.1f} GiB free at {root}", "free some, or move the store"
    )


def _device() -> Check:
    if find_spec("torch") is None:
        return Check("device", None, "torch is not installed here; workers need it")
    # In a process of its own, as training is: nothing but a trainer loads torch.
    asked = subprocess.run([sys.executable, "-c", _TORCH], capture_output=True, text=True, timeout=120, check=False)
    if asked.returncode != 0:
        return Check(
            "device", False, f"torch cannot be loaded: {asked.stderr.strip().splitlines()[-1]}", "install it anew"
        )
    version_, *devices = asked.stdout.splitlines()
    if not devices:
        return Check("device", None, f"no CUDA device; torch {version_} trains on the CPU")
    return Check("device", True, ", ".join(devices))


def _versions() -> Check:
    try:
        ladder = version("ladder-hpo")
    except PackageNotFoundError:
        ladder = "(from a checkout)"
    return Check(
        "versions", sys.version_info >= (3, 11), f"ladder {ladder}, Python {sys.version.split()[0]}", "Python 3.11"
    )
