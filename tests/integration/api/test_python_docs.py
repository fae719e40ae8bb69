"""The guides of the client and the command line: their snippets run, their commands exist."""

import re
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.integration.api.caller import Api
from tests.unit.ladder.test_routes import app, commands

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
def control(api: Api) -> Iterator[None]:
    """Control's part in a thread: it advances what runs in the project."""
    ended = threading.Event()
    running = "SELECT id FROM study WHERE project_id = %(p)s AND state IN ('running', 'stopping')"

    def advance() -> None:
        while not ended.wait(0.02):
            for row in api.hand.db.read(lambda tx: tx.exec_driver_sql(running, {"p": api.project}).all()):
                api.hand.advance(UUID(str(row.id)))

    thread = threading.Thread(target=advance, name="control")
    thread.start()
    yield
    ended.set()
    thread.join()


def test_the_snippets_of_the_python_guide_run_in_order(
    api: Api, control: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LADDER_URL", str(api.client.base_url).rstrip("/"))
    monkeypatch.setenv("LADDER_TOKEN", api.tokens["admin"])
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "python.md").read_text()
    snippets = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    try:
        for snippet in snippets:
            exec(compile(snippet, "docs/python.md", "exec"), names)
    finally:
        names["client"].close()  # type: ignore[attr-defined]
    study = api.get("/studies/line-search").json()
    assert (study["state"], sum(study["counts"].values())) == ("finished", 6)
    assert (tmp_path / "trials.csv").read_text().count("\n") == 7
    assert api.get("/studies?archived=true").json()["items"][0]["name"] == "line-search"


def test_the_commands_of_the_command_line_guide_exist_with_their_options() -> None:
    known = commands(app)
    lines = re.findall(r"^ladder .+?(?=  |$)", (DOCS / "cli.md").read_text(), re.MULTILINE)
    assert len(lines) > 25
    for line in lines:
        words = shlex.split(line)[1:]
        name = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
        options = {option for param in known[name].params for option in param.opts}
        given = {word for word in words if word.startswith("-") and word != "-"}
        assert given <= options, line
