"""Training of one's own against the served API: a trial is leased, trained, and left as its block ends."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from ladder import Client
from ladder.errors import LeaseLost, StudyOver, WaitTimeout
from ladder.wire import Answer, Wire
from tests.integration.api.caller import Api, Json


@pytest.fixture
def user(api: Api) -> Iterator[Client]:
    with Client(str(api.client.base_url).rstrip("/"), api.tokens["worker"], retries=0) as made:
        yield made


def lose(monkeypatch: pytest.MonkeyPatch, ending: str) -> list[str]:
    """The answer to the first request to a path of that ending is lost on its way; returns all keys of such."""
    send, keys = Wire.send, list[str]()

    def lossy(wire: Wire, method: str, target: str, body: Any, headers: Mapping[str, str]) -> Answer:
        answer = send(wire, method, target, body, headers)
        if target.endswith(ending):
            assert answer.is_success
            keys.append(headers["Idempotency-Key"])
            if len(keys) == 1:
                raise ConnectionResetError
        return answer

    monkeypatch.setattr(Wire, "send", lossy)
    return keys


def shown(api: Api, number: int = 0) -> Json:
    found: Json = api.get(f"/studies/s/trials/{number}").json()
    return found


def test_a_trial_is_trained_to_its_end(api: Api, user: Client) -> None:
    api.create()
    with user.worker("lab-7").lease("s") as trial:
        assert list(trial.params) == ["x"]
        for epoch in trial.epochs():
            trial.report(epoch, loss=1 / epoch, acc=float("nan"))
    assert trial.state == "complete"
    trained = shown(api)
    assert (trained["state"], trained["value"], trained["last_step"]) == ("complete", pytest.approx(1 / 3), 3)
    steps = api.get("/studies/s/trials/0/metrics").json()["items"]
    assert [step["step"] for step in steps] == [1, 2, 3]
    assert steps[0]["non_finite"] == {"acc": "nan"}
    assert all(step["seconds"] >= 0 for step in steps)


def test_a_block_that_is_left_early_ends_the_trial_with_what_it_has(api: Api, user: Client) -> None:
    api.create()
    with user.worker("w").lease("s") as trial:
        for epoch in trial.epochs():
            trial.report(epoch, loss=0.5)
            break
    assert (shown(api)["state"], shown(api)["last_step"]) == ("complete", 1)


def test_an_exception_fails_the_trial_and_goes_through(api: Api, user: Client) -> None:
    api.create()
    with pytest.raises(ZeroDivisionError), user.worker("w").lease("s") as trial:
        trial.report(1, loss=1 / 0)
    failed = shown(api)
    assert failed["state"] == "failed"
    assert (failed["error"]["type"], failed["error"]["message"]) == (
        "user_error",
        "ZeroDivisionError: division by zero",
    )
    assert "test_external.py" in failed["error"]["traceback"]


def test_ctrl_c_hands_the_trial_back(api: Api, user: Client) -> None:
    api.create()
    with pytest.raises(KeyboardInterrupt), user.worker("w").lease("s") as trial:
        raise KeyboardInterrupt
    assert trial.state == "released"
    assert shown(api)["state"] == "queued"


@pytest.mark.parametrize(
    ("verb", "error", "told", "stored"),
    [
        ("tell", None, "complete", "complete"),
        ("tell", ValueError, "failed", "failed"),
        ("release", KeyboardInterrupt, "released", "queued"),
    ],
)
def test_an_end_whose_answer_was_lost_is_told_again_and_is_one_end(
    api: Api, monkeypatch: pytest.MonkeyPatch, verb: str, error: type[BaseException] | None, told: str, stored: str
) -> None:
    api.create()
    keys = lose(monkeypatch, f"/{verb}")
    url = str(api.client.base_url).rstrip("/")
    with (
        Client(url, api.tokens["worker"], retries=1) as user,
        nullcontext() if error is None else pytest.raises(error),
        user.worker("w").lease("s") as trial,
    ):
        trial.report(1, loss=0.5)
        if error is not None:
            raise error
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert (trial.state, shown(api)["state"]) == (told, stored)
    ends = [one["end_class"] for one in api.get("/studies/s/trials/0/attempts").json()["items"]]
    assert len(ends) == 1


def test_a_block_without_a_report_fails_its_trial(api: Api, user: Client) -> None:
    api.create()
    with user.worker("w").lease("s"):
        pass
    assert "without a report" in shown(api)["error"]["message"]


def test_an_epoch_that_is_not_reported_is_told_as_a_mistake(api: Api, user: Client) -> None:
    api.create()
    with pytest.raises(RuntimeError, match="epoch 1 was not reported"), user.worker("w").lease("s") as trial:
        for _ in trial.epochs():
            pass


def test_a_paused_trial_goes_on_from_its_checkpoint(api: Api, user: Client, tmp_path: Path) -> None:
    study = api.create(scheduler={"type": "asha", "max_resource": 3}, budget={"max_trials": 3})
    after = []
    for number in range(3):
        if number:
            api.advance(study)
        with user.worker("w").lease("s") as trial:
            for epoch in trial.epochs():
                file = tmp_path / "state"
                file.write_bytes(f"trial {trial.number} after epoch {epoch}".encode())
                trial.checkpoint(file)
                trial.report(epoch, loss=trial.number)
            after.append("never")  # reached only by a trial that ends by itself
    assert trial.state == "paused"
    assert after == []
    api.advance(study)
    with user.worker("w").lease("s") as promoted:
        assert promoted.number == 0
        assert promoted.restore() == b"trial 0 after epoch 1"
        for epoch in promoted.epochs():
            assert epoch > 1
            promoted.checkpoint(b"bytes, too")
            promoted.report(epoch, loss=0)
    assert shown(api)["state"] == "complete"


def test_a_damaged_checkpoint_is_passed_over_and_told(api: Api, user: Client) -> None:
    study = api.create()

    def train_two() -> None:
        with user.worker("w").lease("s") as trial:
            for epoch in trial.epochs():
                trial.checkpoint(f"epoch {epoch}".encode())
                trial.report(epoch, loss=1)
                if epoch == 2:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_two()
    api.hand.execute(
        "UPDATE checkpoint SET sha256 = repeat('0', 64) WHERE step = 2"
        " AND trial_id = (SELECT id FROM trial WHERE study_id = %(s)s AND number = 0)",
        s=study["id"],
    )
    with user.worker("w").lease("s") as again:
        assert again.restore() == b"epoch 1"
        assert next(again.epochs()) == 2
        again.report(2, loss=1)
    states = api.hand.db.read(
        lambda tx: tx.exec_driver_sql(
            "SELECT c.step, c.state FROM checkpoint c JOIN trial t ON t.id = c.trial_id WHERE t.study_id = %(s)s",
            {"s": study["id"]},
        ).all()
    )
    assert {row.step: row.state for row in states} == {1: "ok", 2: "corrupt"}


def test_a_lost_lease_ends_the_work_and_tells_nothing(api: Api, user: Client) -> None:
    study = api.create()
    lost = "UPDATE trial SET lease_id = gen_random_uuid() WHERE study_id = %(s)s"
    trial = next(user.worker("w").trials("s"))

    def train() -> None:
        with trial:
            trial.report(1, loss=1)
            api.hand.execute(lost, s=study["id"])
            trial.report(2, loss=1)

    with pytest.raises(LeaseLost):
        train()
    assert trial.state == "lost"
    assert shown(api)["state"] == "running"


def test_a_cancelled_study_stops_its_trials_at_their_next_report(api: Api, user: Client) -> None:
    api.create()
    with user.worker("w").lease("s") as trial:
        for epoch in trial.epochs():
            api.post("/studies/s/cancel")
            trial.report(epoch, loss=1)
        pytest.fail("a stopped trial leaves its block")
    assert trial.state == "stopped"


def test_the_heartbeat_keeps_the_lease_and_hears_that_the_study_is_paused(api: Api, user: Client) -> None:
    api.create()
    with user.worker("w").lease("s", lease_s=0.15) as trial:
        api.post("/studies/s/pause")
        for epoch in trial.epochs():
            while not trial.should_stop:  # until the heartbeat has heard; the lease alone would not last so long
                trial._quit.wait(0.01)
            trial.checkpoint(b"state")
            trial.report(epoch, loss=1)
    assert trial.state == "paused"
    assert shown(api)["state"] == "queued"


def test_trials_come_one_after_the_other_until_the_study_has_ended(api: Api, user: Client) -> None:
    study = api.create(budget={"max_trials": 2})
    numbers = []
    for trial in user.worker("w").trials("s"):
        with trial:
            for epoch in trial.epochs():
                trial.report(epoch, loss=1)
        numbers.append(trial.number)
        api.advance(study)
    assert numbers == [0, 1]
    with pytest.raises(StudyOver), user.worker("w").lease("s"):
        pytest.fail("there is no trial")


def test_waiting_for_a_trial_ends_in_time(api: Api, user: Client) -> None:
    api.create(start=False, advance=False)
    with pytest.raises(WaitTimeout, match="paused"), user.worker("w").lease("s", timeout=0):
        pytest.fail("there is no trial")


@pytest.mark.parametrize("value", ["high", True, None])
def test_a_metric_that_is_no_number_is_refused_by_name(api: Api, user: Client, value: object) -> None:
    api.create()
    with pytest.raises(TypeError, match="loss="), user.worker("w").lease("s") as trial:
        trial.report(1, loss=value)
