"""A client that openapi-python-client makes of ``openapi.json``, as anybody may, works with the API as it is."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract.api_document import COMMITTED, operations
from tests.integration.api.caller import Api, Json, spec

# What a user of the generated package writes; it reads what to do from its arguments and knows nothing of Ladder.
CALLER = """
import json
import sys

from made.api.studies import create_study_api_v1_studies_post as create
from made.api.studies import get_best_api_v1_studies_study_best_get as best
from made.client import AuthenticatedClient
from made.models.best_list import BestList
from made.models.study_create import StudyCreate
from made.models.study_read import StudyRead

url, token, what, given = sys.argv[1:]
with AuthenticatedClient(base_url=url, token=token, raise_on_unexpected_status=True) as client:
    if what == "create":
        study = create.sync(client=client, body=StudyCreate.from_dict(json.loads(given)))
        assert isinstance(study, StudyRead), study
        print(json.dumps({"id": str(study.id), "name": study.name, "max_trials": study.budget.max_trials}))
    else:
        found = best.sync(given, client=client, top=1)
        assert isinstance(found, BestList), found
        [trial] = found.items
        print(json.dumps({"number": trial.number, "value": trial.value, "x": trial.params["x"]}))
"""


def _run(*command: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that holds the generated package ``made``."""
    root = tmp_path_factory.mktemp("client")
    (root / "config.yaml").write_text("post_hooks: []\n")  # it would format what nobody reads
    options = ["--path", str(COMMITTED), "--output-path", "made", "--meta", "none", "--config", "config.yaml"]
    _run("-m", "openapi_python_client", "generate", *options, cwd=root)
    (root / "caller.py").write_text(CALLER)
    return root


def test_every_operation_is_generated(package: Path) -> None:
    made = [path for path in (package / "made" / "api").glob("*/*.py") if path.name != "__init__.py"]
    assert len(made) == len(operations())


def test_a_generated_client_creates_a_study_and_reads_its_best(package: Path, api: Api) -> None:
    def call(what: str, given: str) -> Any:
        url = str(api.client.base_url)
        return json.loads(_run("caller.py", url, api.tokens["write"], what, given, cwd=package))

    body: Json = spec("made", scheduler={"type": "asha", "min_resource": 1, "max_resource": 3})
    created = call("create", json.dumps(body))
    stored = api.get("/studies/made").json()
    assert created == {"id": stored["id"], "name": "made", "max_trials": 4}
    assert (stored["scheduler"]["type"], stored["search_space"][0]["name"]) == ("asha", "x")
    api.advance(stored)
    for loss, trial in zip((0.5, 0.25), api.ask("made", count=2), strict=True):
        assert api.report(trial, 1, loss).status_code == 200
        winner = trial
    assert call("best", "made") == {"number": winner["number"], "value": 0.25, "x": winner["params"]["x"]}
