"""What a defect of ours looks like from outside: a problem with the request's id, and no word of the inside."""

from structlog.testing import capture_logs

from tests.integration.api.caller import Api, problem


def test_an_unexpected_error_is_a_problem_and_is_logged_without_the_key(api: Api) -> None:
    study = api.create(advance=False)
    api.hand.execute("UPDATE study SET spec = '{}' WHERE id = %(id)s", id=study["id"])
    with capture_logs() as logs:
        answer = api.get("/studies/s", headers={"X-Request-Id": "my-id"})
    body = problem(answer, 500, "internal")
    assert (body["request_id"], body["detail"]) == ("my-id", "Internal Server Error")
    assert "errors" not in body
    assert [line["event"] for line in logs] == ["unexpected-error"]
    assert api.tokens["admin"] not in str(logs)


def test_a_statement_that_the_database_refuses_is_a_problem(api: Api) -> None:
    study = api.create(advance=False)
    api.hand.execute(
        "UPDATE study SET last_seq = 0 WHERE id = %(id)s", id=study["id"]
    )  # the next event is there already
    with capture_logs() as logs:
        body = problem(api.post("/studies/s/pause"), 500, "internal")
    assert body["detail"] == "the database refused a statement"
    assert logs[-1]["event"] == "database-error"
    assert api.get("/studies/s").json()["state"] == "running"


def test_a_statement_that_waits_too_long_is_unavailable(api: Api) -> None:
    study = api.create(advance=False)
    db = api.hand.db
    with db.engine.begin() as tx:
        tx.exec_driver_sql("SELECT 1 FROM study WHERE id = %(id)s FOR UPDATE", {"id": study["id"]})
        answer = api.post("/studies/s/pause")
    problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert api.post("/studies/s/pause").status_code == 200
