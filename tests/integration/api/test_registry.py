"""What a study can be made of, as the form and the command line are given it."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx import Client

from api import registry_views
from api.main import create_app
from hpo.settings import Settings
from tests.integration.api.caller import V1, Api, spec
from tests.integration.api.server import serve


def _names(api: Api, kind: str) -> dict[str, Any]:
    answer = api.get(f"{V1}/{kind}", scope="read")
    assert answer.status_code == 200, answer.text
    return {one["name"]: one for one in answer.json()["items"]}


def test_every_type_that_a_study_takes_is_told_with_its_schema(api: Api, app: FastAPI) -> None:
    document = app.openapi()["components"]["schemas"]
    study = document["StudyCreate"]["properties"]
    for kind, field in (("samplers", study["sampler"]), ("schedulers", study["scheduler"])):
        told = _names(api, kind)
        assert set(told) == set(field["discriminator"]["mapping"]), kind
        for name, entry in told.items():
            assert entry["summary"]
            assert entry["schema"]["properties"]["type"]["const"] == name
    assert set(_names(api, "rules")) == {"median", "percentile", "threshold", "patience", "curve"}


@pytest.mark.parametrize("kind", ["samplers", "schedulers"])
def test_the_defaults_of_a_schema_are_what_a_study_gets(api: Api, kind: str) -> None:
    noun = kind.removesuffix("s")
    for name, entry in _names(api, kind).items():
        given: dict[str, Any] = {"type": name}
        given |= {field: 9 for field in entry["schema"].get("required", []) if field != "type"}
        if name in ("threshold", "percentile"):
            given |= {"lower": 0.1} if name == "threshold" else {}
        space = [{"type": "int", "name": "x", "low": 0, "high": 9}]  # a grid takes no continuous parameter
        answer = api.post("/studies?dry_run=true", spec(search_space=space) | {noun: given})
        if answer.status_code == 422:  # a combination that is refused: the type's own fields are not at fault
            pointers = [error["pointer"] for error in answer.json()["errors"]]
            assert not any(pointer.startswith(f"/{noun}/") and pointer != f"/{noun}/type" for pointer in pointers), (
                name, answer.json())  # fmt: skip
            continue
        stored = answer.json()["spec"][noun]
        for field, schema in entry["schema"]["properties"].items():
            if "default" in schema and schema["default"] is not None and field not in given:
                assert stored[field] == schema["default"], (name, field)


def test_a_trainer_tells_its_metrics_and_what_may_be_tuned(api: Api) -> None:
    told = _names(api, "trainers")
    assert {"image-cnn", "synthetic"} <= set(told)
    cnn = told["image-cnn"]
    assert "val_acc" in cnn["metrics"]
    assert "two_conv" in cnn["variants"]
    tunable = {one["name"]: one for one in cnn["tunable"]}
    lr = tunable["lr"]
    assert (lr["type"], lr["low"], lr["low_excluded"], lr["high"], lr["mutable"]) == ("float", 0, True, 10, True)
    assert "adam" in tunable["optimizer"]["choices"]
    assert tunable["filters1"]["only_of"] == ["two_conv"]
    assert tunable["architecture"]["choices"] == cnn["variants"]
    assert "dataset" not in tunable


def test_an_installed_trainer_that_the_operator_allows_is_told_by_name(api: Api, settings: Settings) -> None:
    with serve(create_app(settings.model_copy(update={"trainers": ("mine",)}))) as url, Client(base_url=url) as client:
        told = _names(Api(client, api.hand, api.project, api.tokens), "trainers")
    assert told["mine"]["installed"] is True
    assert told["mine"]["tunable"] == []


def test_schemas_are_made_once_in_a_process_and_installed_trainers_told_as_they_are_asked_for() -> None:
    own, both = registry_views.trainers(()), registry_views.trainers(("mine",))
    assert [one.name for one in both] == [*(one.name for one in own), "mine"]
    assert all(first is second for first, second in zip(own, both, strict=False))
    for told in (registry_views.samplers, registry_views.schedulers, registry_views.rules):
        assert told() is told()
