"""What is wrong with a request is said by status, code, pointer and message; nothing is stored, nothing crashes."""

import json
from typing import Any

import pytest

from tests.integration.api.caller import V1, Api, Json, problem, refused, spec

FLOAT = {"type": "float", "name": "x", "low": 0, "high": 1}
VAL_LOSS = [{"metric": "val_loss", "direction": "minimize"}]
LR = [{"type": "float", "name": "lr", "low": 0.1, "high": 1}]


def space(**changes: Any) -> Json:
    return spec(search_space=[FLOAT | changes])


def cnn(**config: Any) -> Json:
    return spec(objectives=VAL_LOSS, search_space=LR, trainer={"name": "image-cnn", "config": config})


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# what is sent, the pointer and code of the one error, and words of its message
FIELDS: dict[str, tuple[Json, str, str, str]] = {
    "unknown field": (spec(foo=1), "/foo", "extra_forbidden", "unknown field"),
    "unknown field of a param": (space(bar=1), "/search_space/0/bar", "extra_forbidden", "unknown field"),
    "unknown field named like a tag": (space(float=1), "/search_space/0/float", "extra_forbidden", "unknown field"),
    "low equals high": (space(low=1), "/search_space/0/low", "low_not_below_high", "got low 1 and high 1"),
    "low above high": (space(low=2), "/search_space/0/low", "low_not_below_high", "got low 2 and high 1"),
    "log from zero": (space(log=True), "/search_space/0/low", "log_needs_positive", "> 0 when log is true, got 0"),
    "log with step": (space(low=0.1, log=True, step=0.1), "/search_space/0/step", "log_with_step", "one of them"),
    "low missing": (
        spec(search_space=[{"type": "float", "name": "x", "high": 1}]),
        "/search_space/0/low",
        "missing",
        "wanted",
    ),
    "low is text": (space(low="a"), "/search_space/0/low", "int_type", 'valid number, got "a"'),
    "low is a boolean": (space(low=False), "/search_space/0/low", "int_type", "got false"),
    "low is null": (space(low=None), "/search_space/0/low", "int_type", "got null"),
    "low is an object": (space(low={}), "/search_space/0/low", "int_type", "got an object"),
    "int bound is a boolean": (space(type="int", low=False, high=5), "/search_space/0/low", "int_type", "got false"),
    "int bound is a fraction": (space(type="int", high=1.5), "/search_space/0/high", "int_type", "got 1.5"),
    "int beyond doubles": (space(type="int", high=2**60), "/search_space/0/high", "out_of_range", "2^53"),
    "1,001 choices": (
        spec(search_space=[{"type": "categorical", "name": "x", "choices": list(range(1001))}]),
        "/search_space/0/choices",
        "too_long",
        "at most 1000 items after validation, not 1001",
    ),
    "no choices": (
        spec(search_space=[{"type": "categorical", "name": "x", "choices": []}]),
        "/search_space/0/choices",
        "too_short",
        "at least 1",
    ),
    "a choice is null": (
        spec(search_space=[{"type": "categorical", "name": "x", "choices": [1, None]}]),
        "/search_space/0/choices/1",
        "bool_type",
        "valid string, got null",
    ),
    "a choice twice": (
        spec(search_space=[{"type": "categorical", "name": "x", "choices": [1, 1]}]),
        "/search_space/0/choices",
        "duplicate_choice",
        "got 1 twice",
    ),
    "unknown type of param": (space(type="real"), "/search_space/0/type", "union_tag_invalid", "'real'"),
    "type of param missing": (
        spec(search_space=[{"name": "x"}]),
        "/search_space/0/type",
        "union_tag_not_found",
        "'type'",
    ),
    "empty space": (spec(search_space=[]), "/search_space", "too_short", "at least 1"),
    "space is an object": (spec(search_space={"x": 1}), "/search_space", "tuple_type", "array, got an object"),
    "name of a param twice": (spec(search_space=[FLOAT, FLOAT]), "/search_space", "duplicate_name", "'x' twice"),
    "name of a param with a space": (space(name="a b"), "/search_space/0/name", "string_pattern_mismatch", '"a b"'),
    "name with a slash": (spec("a/b"), "/name", "string_pattern_mismatch", 'got "a/b"'),
    "name of 10,000 characters": (spec("a" * 10_000), "/name", "string_pattern_mismatch", "aaa…"),
    "key of a label": (spec(labels={"a/~b": "c"}), "/labels/a~1~0b", "string_pattern_mismatch", 'got "a/~b"'),
    "label is a number": (spec(labels={"a": 5}), "/labels/a", "string_type", "got 5"),
    "goal is a boolean": (
        spec(objectives=[{"metric": "loss", "direction": "minimize", "goal": True}]),
        "/objectives/0/goal",
        "float_type",
        "got true",
    ),
    "budget is text": (spec(budget={"max_wall_s": "5"}), "/budget/max_wall_s", "float_type", 'got "5"'),
    "timeout is a boolean": (
        spec(trainer={"name": "external", "timeout_s": True}),
        "/trainer/timeout_s",
        "float_type",
        "got true",
    ),
    "start is a number": (spec(start=1), "/start", "bool_type", "got 1"),
    "unknown scheduler": (
        spec(scheduler={"type": "hyper", "max_resource": 3}),
        "/scheduler/type",
        "union_tag_invalid",
        "'hyper'",
    ),
    "min above max resource": (
        spec(scheduler={"type": "asha", "min_resource": 5, "max_resource": 3}),
        "/scheduler/min_resource",
        "min_above_max",
        "at most max_resource = 3, got 5",
    ),
    "scheduler is text": (spec(scheduler="asha"), "/scheduler", "model_attributes_type", 'an object, got "asha"'),
    "the same objective twice": (
        spec(objectives=[{"metric": "loss", "direction": "minimize"}] * 2),
        "/objectives/1/metric",
        "duplicate_metric",
        "got 'loss' twice",
    ),
    "nine objectives": (
        spec(objectives=[{"metric": f"m{n}", "direction": "minimize"} for n in range(9)]),
        "/objectives",
        "too_long",
        "at most 8",
    ),
    "checkpoints without end": (spec(checkpoints={"every": 10**30}), "/checkpoints/every", "less_than_equal", "got 1"),
    "config nested deeply": (spec(trainer={"name": "external", "config": {"a": nested(30)}}), "", "too_deep", "16"),
    "grid without step": (spec(sampler={"type": "grid"}), "/search_space/0/step", "grid_needs_step", "give a step"),
    "unknown trainer": (spec(trainer={"name": "nope"}), "/trainer/name", "unknown_trainer", "'nope', want one of"),
    "unknown metric": (
        spec(trainer={"name": "synthetic"}, objectives=[{"metric": "f1", "direction": "maximize"}]),
        "/objectives/0/metric",
        "unknown_metric",
        "want one of loss, acc",
    ),
    "unknown dataset": (cnn(dataset="mars"), "/trainer/config/dataset", "value_refused", "got 'mars', want one of"),
    "unknown architecture": (cnn(architecture="nope"), "/trainer/config/architecture", "value_refused", "'nope'"),
    "network too deep for the image": (
        cnn(dataset="digits", architecture="resnet_small", stages=6),
        "/trainer/config/architecture",
        "value_refused",
        "needs images of 32 px, digits has 8 px",
    ),
}


@pytest.mark.parametrize("case", FIELDS.values(), ids=FIELDS.keys())
def test_a_wrong_field_of_a_study_is_named_by_its_pointer(api: Api, case: tuple[Json, str, str, str]) -> None:
    sent, pointer, code, words = case
    message = refused(api.post("/studies", sent), pointer, code)
    assert words in message
    assert len(message) < 400
    assert api.stored() == 0


LOW = json.dumps(space(low="LOW"))
TEXTS: dict[str, tuple[str, str, str]] = {
    "NaN": (LOW.replace('"LOW"', "NaN"), "/search_space/0/low", "not_finite"),
    "Infinity": (LOW.replace('"LOW"', "Infinity"), "/search_space/0/low", "not_finite"),
    "-Infinity": (LOW.replace('"LOW"', "-Infinity"), "/search_space/0/low", "not_finite"),
    "1e999": (LOW.replace('"LOW"', "1e999"), "/search_space/0/low", "out_of_range"),
    "-1e999": (LOW.replace('"LOW"', "-1e999"), "/search_space/0/low", "out_of_range"),
    "5,000 digits": (LOW.replace('"LOW"', "9" * 5000), "/search_space/0/low", "out_of_range"),
    "310 digits": (LOW.replace('"LOW"', "-" + "9" * 310), "/search_space/0/low", "out_of_range"),
    "key twice": (LOW.replace('"LOW"', '0, "low": 0'), "/search_space/0/low", "duplicate_key"),
    "key twice at the top": (LOW.replace('{"name"', '{"name": "t", "name"', 1), "/name", "duplicate_key"),
    "surrogate in the name": (json.dumps(spec("a\ud800")), "/name", "lone_surrogate"),
    "surrogate in a key": (json.dumps(spec() | {"\udc00": 1}), "", "lone_surrogate"),
    "surrogate in a choice": (
        json.dumps(spec(search_space=[{"type": "categorical", "name": "x", "choices": ["a", "\ud800"]}])),
        "/search_space/0/choices/1",
        "lone_surrogate",
    ),
    "NUL in the description": (json.dumps(spec(description="a\0")), "/description", "nul_character"),
    "NUL deep in a config": (
        json.dumps(spec(trainer={"name": "external", "config": {"a/b": [{"c": "\0"}]}})),
        "/trainer/config/a~1b/0/c",
        "nul_character",
    ),
    "NUL in a key of a config": (
        json.dumps(spec(trainer={"name": "external", "config": {"a": {"\0": 1}}})),
        "/trainer/config/a",
        "nul_character",
    ),
    "NaN in a config": (
        json.dumps(spec(trainer={"name": "external", "config": {"a": [1, float("nan")]}})),
        "/trainer/config/a/1",
        "not_finite",
    ),
    "null": ("null", "", "model_attributes_type"),
    "an array": ("[]", "", "model_attributes_type"),
    "a number": ("5", "", "model_attributes_type"),
    "nothing": ("", "", "missing"),
}


@pytest.mark.parametrize("case", TEXTS.values(), ids=TEXTS.keys())
def test_json_without_one_storable_meaning_is_refused_with_its_place(api: Api, case: tuple[str, str, str]) -> None:
    text, pointer, code = case
    refused(api.call("POST", "/studies", raw=text.encode()), pointer, code)
    assert api.stored() == 0


MALFORMED = {
    "not JSON": b"<html>",
    "cut off": b'{"name": "s"',
    "20,000 deep arrays": b"[" * 20_000 + b"]" * 20_000,
    "20,000 deep in a field": b'{"name": ' + b'{"a":' * 20_000 + b"1" + b"}" * 20_001,
    "raw surrogate": b'{"name": "\xed\xa0\x80"}',
    "latin-1": b'{"name": "\xe9"}',
    "UTF-16": json.dumps(spec()).encode("utf-16"),
    "raw NUL": b'{"name": "a\0"}',
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_body_that_is_not_json_is_malformed(api: Api, body: bytes) -> None:
    problem(api.call("POST", "/studies", raw=body), 400, "malformed")


def test_all_wrong_fields_are_named_at_once(api: Api) -> None:
    answer = api.post("/studies", {**spec("a b", foo=1), "budget": {"max_trials": 0}})
    errors = problem(answer, 422, "validation_failed")["errors"]
    assert {error["pointer"] for error in errors} == {"/name", "/foo", "/budget/max_trials"}


def test_thousands_of_errors_are_answered_with_the_first_few(api: Api) -> None:
    answer = api.post("/studies", spec(labels={f"a {n}": "" for n in range(60)}, search_space=[5] * 150))
    body = problem(answer, 422, "validation_failed")
    assert len(body["errors"]) == 20
    assert int(body["detail"].split()[0]) > 150


def test_a_body_of_10_mb_is_too_large(api: Api) -> None:
    problem(api.post("/studies", spec(description="a" * 10_000_000)), 413, "too_large")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json", ""])
def test_a_body_of_another_kind_than_json_is_unsupported(api: Api, kind: str) -> None:
    answer = api.post("/studies", spec(), headers={"Content-Type": kind})
    problem(answer, 415, "unsupported_media_type")
    assert api.stored() == 0


def test_json_with_a_charset_is_json(api: Api) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert api.post("/studies?dry_run=true", spec(), headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", f"{V1}/nothing", 404, "not_found"),
        ("GET", f"{V1}/studies/", 404, "not_found"),
        ("POST", f"{V1}/studies/s/explode", 404, "not_found"),
        ("DELETE", f"{V1}/studies", 405, "method_not_allowed"),
        ("PUT", f"{V1}/studies/s", 405, "method_not_allowed"),
        ("POST", f"{V1}/studies/s/rungs", 405, "method_not_allowed"),
        ("GET", f"{V1}/studies/s/pause", 405, "method_not_allowed"),
        ("OPTIONS", f"{V1}/studies", 405, "method_not_allowed"),
        ("GET", f"{V1}/studies/no-such", 404, "not_found"),
        ("GET", f"{V1}/studies/a%00b", 404, "not_found"),
        ("GET", f"{V1}/studies/a%0A", 404, "not_found"),
        ("GET", f"{V1}/studies/%ED%A0%80", 404, "not_found"),
        ("GET", f"{V1}/studies/no-such/events", 404, "not_found"),
        ("POST", f"{V1}/studies/a%00b/pause", 404, "not_found"),
        ("GET", f"{V1}/studies/s/trials/0/artifacts/..%2Fpasswd", 404, "not_found"),
        ("GET", "/problems/nope", 404, "not_found"),
    ],
)
def test_an_unknown_path_or_method_is_a_problem_too(api: Api, method: str, path: str, status: int, code: str) -> None:
    problem(api.call(method, path), status, code)


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("/studies?label=a:%00", "/query/label/0"),
        ("/studies?label=a", "/query/label"),
        ("/studies?state=zzz", "/query/state/0"),
        ("/studies?order_by=colour", "/query/order_by"),
        ("/studies?page_size=0", "/query/page_size"),
        ("/studies?page_size=" + "9" * 5000, "/query/page_size"),
        ("/studies?page_size=NaN", "/query/page_size"),
        ("/studies/" + "a" * 101, "/path/study"),
        ("/studies/s/trials/-1", "/path/number"),
        ("/studies/s/trials/99999999999", "/path/number"),
        ("/studies/s/trials/x", "/path/number"),
        ("/studies/s/best?top=0", "/query/top"),
        ("/studies/s/trials/0/artifacts/passwd", "/path/name"),
        ("/workers/a%00b", "/path/worker"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_place(api: Api, path: str, pointer: str) -> None:
    refused(api.get(path), pointer)


@pytest.mark.parametrize("text", ["%00", "é", "W10", "bnVsbA", "WzFd", "e30", "a" * 999, "IiI"])
def test_a_page_token_that_is_not_ours_is_malformed(api: Api, text: str) -> None:
    problem(api.get(f"/studies?page_token={text}"), 400, "malformed")
    problem(api.get(f"/workers?page_token={text}"), 400, "malformed")


@pytest.mark.parametrize("value", ["abc", "-1", "1.5", "9" * 25, "\u0663".encode().decode("latin-1")])
def test_a_last_event_id_that_is_no_event_is_malformed(api: Api, value: str) -> None:
    api.create()
    headers = {b"Last-Event-ID": value.encode("latin-1")}
    answer = api.client.get(
        f"{V1}/studies/s/events",
        headers=[(b"Authorization", f"Bearer {api.tokens['read']}".encode()), *headers.items()],
    )
    problem(answer, 400, "malformed")


def test_every_error_code_is_explained(api: Api) -> None:
    explained = api.get("/problems/lease_lost").json()
    assert (explained["code"], explained["status"]) == ("lease_lost", 409)
    assert explained["meaning"]


def test_a_request_id_is_echoed_and_one_is_made_where_none_or_a_strange_one_came(api: Api) -> None:
    given = "0199f0a0-aaaa-7000-8000-000000000000"
    assert api.get("/studies", headers={"X-Request-Id": given}).headers["x-request-id"] == given
    made = api.get("/studies", headers={"X-Request-Id": "<script>"}).headers["x-request-id"]
    assert made.isalnum()
    assert api.get("/studies").headers["x-request-id"] != made
