"""Importances over HTTP: at once, or computed by control and kept while they hold."""

from contextlib import closing
from uuid import UUID

import pytest
from redis import Redis

from hpo.doorbell import Doorbell
from hpo.lifecycle import analyses
from hpo.lifecycle.analyses import Question
from hpo.lifecycle.definitions import Definitions
from hpo.settings import Settings
from tests.integration.api.caller import Api, Json, problem, refused
from tests.integration.api.filled import fill
from workers.control import Control

FOREST = "/studies/s/importance?method=mdi"


def compute(api: Api, study: Json) -> bool:
    """What control does for one analysis, but in this process; returns whether there was one."""
    work = api.hand.db.write(lambda tx: analyses.take(tx, Definitions(), UUID(study["id"])))
    if work is not None:
        found = analyses.judging(work.definition, work.question, work.seen)()
        api.hand.db.write(lambda tx: analyses.keep(tx, work, found))
    return work is not None


def test_ped_anova_comes_at_once(api: Api) -> None:
    fill(api)
    answer = api.get("/studies/s/importance", scope="read")
    assert answer.status_code == 200
    found = answer.json()
    assert set(found["values"]) == {"lr", "width", "dropout", "optimizer", "momentum", "norm", "decay"}
    assert sum(found["values"].values()) == pytest.approx(1)
    assert list(found["values"].values()) == sorted(found["values"].values(), reverse=True)
    # 34 of 300 get to the last rung; of each 50 one fails, that is one of them.
    assert (found["method"], found["n_trials"], found["at_step"]) == ("ped_anova", 33, 9)
    assert (found["reason"], found["basis"]) == (None, 901)
    assert found["computed_at"] is not None
    fewer = api.get("/studies/s/importance?n_max=20").json()
    assert 10 <= fewer["n_trials"] <= 20
    unchanged = api.get("/studies/s/importance", headers={"If-None-Match": answer.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")


def test_too_few_trials_have_no_importance_but_a_reason(api: Api) -> None:
    api.create()
    found = api.get("/studies/s/importance").json()
    assert (found["values"], found["n_trials"], found["at_step"]) == ({}, 0, None)
    assert "no trial has reached a rung yet" in found["reason"]
    api.report(api.ask()[0], 3, 0.5)
    found = api.get("/studies/s/importance").json()
    assert (found["values"], found["n_trials"], found["at_step"]) == ({}, 1, 3)
    assert found["reason"] == "needs 10 comparable trials, has 1"


def test_a_forest_is_asked_for_and_kept_while_it_holds(api: Api) -> None:
    study = fill(api)
    first = api.get(FOREST, scope="read")
    assert (first.status_code, first.headers["retry-after"]) == (202, "2")
    assert (first.json()["values"], first.json()["reason"], first.json()["computed_at"]) == ({}, "being computed", None)
    assert api.get(FOREST).status_code == 202
    assert compute(api, study)
    assert not compute(api, study), "asked for twice, computed once"
    done = api.get(FOREST)
    assert (done.status_code, done.json()["n_trials"], done.json()["basis"]) == (200, 33, 901)
    assert sum(done.json()["values"].values()) == pytest.approx(1)
    assert "momentum: active in some trials only" in done.json()["reason"]
    # 5 % of 300 ended trials are 15.
    api.hand.execute("UPDATE study SET last_seq = last_seq + 100, pruned = pruned + 15, next_number = next_number + 15,"
                     " max_trials = 400 WHERE id = %(id)s", id=study["id"])  # fmt: skip
    assert api.get(FOREST).status_code == 200
    api.hand.execute("UPDATE study SET last_seq = last_seq + 1, pruned = pruned + 1, next_number = next_number + 1"
                     " WHERE id = %(id)s", id=study["id"])  # fmt: skip
    again = api.get(FOREST)
    assert (again.status_code, again.json()["values"]) == (202, done.json()["values"])
    assert again.json()["reason"] == "being computed: this was found at event 901"
    assert compute(api, study)
    assert api.get(FOREST).json()["basis"] == 1002


def test_the_end_of_a_study_asks_anew_once(api: Api) -> None:
    study = fill(api)
    api.get(FOREST)
    compute(api, study)
    api.hand.execute("UPDATE study SET state = 'cancelled', last_seq = last_seq + 1 WHERE id = %(id)s", id=study["id"])
    assert api.get(FOREST).status_code == 202
    compute(api, study)
    assert api.get(FOREST).status_code == 200


def test_control_computes_in_a_process_of_its_own_and_tells_of_failures(api: Api, settings: Settings) -> None:
    study = fill(api)
    api.get(FOREST)
    control = Control(settings)
    try:
        assert control._answer_one(UUID(study["id"]))
        assert not control._answer_one(UUID(study["id"]))
        assert api.get(FOREST).json()["n_trials"] == 33
        assert api.get(f"{FOREST}&n_max=50").status_code == 202
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(analyses, "COMPUTE_S", 0.01)
            assert control._answer_one(UUID(study["id"]))
    finally:
        control.end()
    told = api.get(f"{FOREST}&n_max=50")
    assert (told.status_code, told.json()["values"]) == (200, {})
    assert told.json()["reason"] == "could not be computed: took longer than 0 s"


def test_a_lost_bell_is_made_up_for(api: Api) -> None:
    study = fill(api)
    waiting = lambda: UUID(study["id"]) in api.hand.db.read(analyses.unanswered)  # noqa: E731
    assert not waiting()
    api.get(FOREST)
    assert waiting()
    # Taken by a control that died: after a while it waits again.
    api.hand.db.write(lambda tx: analyses.take(tx, Definitions(), UUID(study["id"])))
    assert not waiting()
    api.hand.execute("UPDATE analysis SET started_at = started_at - interval '1 hour'")
    assert waiting()
    assert compute(api, study)


def test_who_was_too_slow_overwrites_nothing(api: Api) -> None:
    study = fill(api)
    api.get(FOREST)
    slow = api.hand.db.write(lambda tx: analyses.take(tx, Definitions(), UUID(study["id"])))
    assert slow is not None
    api.hand.execute("UPDATE analysis SET started_at = started_at - interval '1 hour'")
    compute(api, study)
    api.hand.db.write(lambda tx: analyses.give_up(tx, slow, "too slow"))
    assert api.get(FOREST).json()["n_trials"] == 33


def test_the_bell_is_for_control(redis_url: str) -> None:
    doorbell = Doorbell(redis_url)
    doorbell.ring_analysis(UUID(int=7))
    doorbell.close()
    with closing(Redis.from_url(redis_url)) as redis:
        (message,) = redis.lrange("control", 0, -1)  # type: ignore[misc]
    assert b"control.analyse" in message


def test_what_cannot_be_asked_is_refused(api: Api) -> None:
    api.create()
    assert "0: the study has 1, got 1" in refused(
        api.get("/studies/s/importance?objective=1"), "/query/objective", "no_such_objective"
    )
    for query in ("method=x", "n_max=0", "n_max=100000", "objective=-1"):
        problem(api.get(f"/studies/s/importance?{query}"), 422, "validation_failed")
    problem(api.get("/studies/none/importance"), 404, "not_found")


def test_questions_that_differ_are_kept_apart() -> None:
    keys = {Question("fanova").key, Question("mdi").key, Question("mdi", 1).key, Question("mdi", 0, 50).key}
    assert len(keys) == 4
