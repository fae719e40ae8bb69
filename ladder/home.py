"""The directory of a local stack (``~/.ladder``): where its parts lie, and the small files that name them to others."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below the home of one local stack. Files with secrets are readable by their owner only."""

    path: Path

    @staticmethod
    def default() -> "Home":
        """``LADDER_HOME``, else ``~/.ladder``."""
        return Home(Path(os.environ.get("LADDER_HOME") or "~/.ladder").expanduser().absolute())

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def client_file(self) -> Path:
        """URL and token for clients of this user; outlives the stack, whose tokens stay the same."""
        return self.path / "client.json"

    @property
    def stack_file(self) -> Path:
        """``LADDER_*`` settings of the stack that runs now; gone when it has stopped."""
        return self.path / "stack.json"

    @property
    def secrets_file(self) -> Path:
        return self.path / "secrets.json"


def read_json(path: Path) -> dict[str, str]:
    """The flat object in ``path``; empty if there is no such file."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    return {str(key): str(value) for key, value in json.loads(text).items()}


def write_private(path: Path, values: Mapping[str, str]) -> None:
    """Write ``values`` as JSON with mode 0600; a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(dict(values), file, indent=1)
    temporary.replace(path)


def connection(url: str | None, token: str | None) -> tuple[str, str | None]:
    """URL and token to use: as given, else ``LADDER_URL`` and ``LADDER_TOKEN``, else those of the local stack.

    The local stack's token goes to the local stack only, never to another URL.
    """
    local = read_json(Home.default().client_file)
    chosen = (url or os.environ.get("LADDER_URL") or local.get("url") or DEFAULT_URL).rstrip("/")
    local_token = local.get("token") if chosen == local.get("url") else None
    return chosen, token or os.environ.get("LADDER_TOKEN") or local_token
