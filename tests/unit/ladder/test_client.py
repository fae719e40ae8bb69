"""The typed calls: what goes over the wire, and what comes back."""

from pathlib import Path
from uuid import UUID, uuid4

import pytest

from api.schemas.leases import AskIn, ClaimIn, ReleaseIn, ReportIn, TellIn
from api.schemas.studies import BudgetPatch, StudyPatch
from api.schemas.workers import WorkerIn
from ladder import Client, space
from ladder.errors import ApiError, WaitTimeout
from tests.unit.ladder.serving import RUNG, STUDY, Reply, serving

LEASE = UUID("0199a000-0000-4000-8000-000000000002")
TRIAL = {
    "number": 0, "state": "paused", "params": {}, "value": 0.5, "bracket": 0, "rung": 0, "last_step": 1,
    "target_step": 1, "attempt": 1, "worker": None, "error": None, "created_at": "2026-01-02T03:04:05Z",
    "updated_at": "2026-01-02T03:04:05Z", "finished_at": None,
}  # fmt: skip


def test_the_lease_calls_use_the_routes_of_the_worker_protocol() -> None:
    worker = {
        "name": "w", "queue": "cpu", "host": "h", "device": "cpu", "state": "idle",
        "started_at": "2026-01-02T03:04:05Z", "seen_at": "2026-01-02T03:04:05Z",
    }  # fmt: skip
    script = [
        Reply(200, {"trial": None}),
        Reply(200, {"lease_expires_at": "2026-01-02T03:04:05Z", "stop": "pause"}),
        Reply(200, {"decision": "continue", "target_step": 9}),
        Reply(204, ""),
        Reply(200, TRIAL),
        Reply(200, {"trials": [], "reason": "paused"}),
        Reply(200, worker),
    ]
    with serving(*script) as server, Client(server.url, "t") as client:
        assert client.leases.claim(ClaimIn(worker="w", queue="cpu", claim_id=LEASE)).trial is None
        assert client.leases.heartbeat("my study", 3, LEASE).stop == "pause"
        report = ReportIn(step=1, metrics={"loss": "nan"}, lease=LEASE)
        assert client.leases.report("my study", 3, report).target_step == 9
        client.leases.release("my study", 3, ReleaseIn(lease=LEASE))
        assert client.leases.tell("my study", 3, TellIn(lease=LEASE, state="complete")).number == 0
        assert client.leases.ask("my study", AskIn(worker="w")).reason == "paused"
        assert client.workers.put("w", WorkerIn(queue="cpu", protocol_version=3)).state == "idle"
    trial = "/api/v1/studies/my%20study/trials/3"
    assert [(asked.method, asked.path) for asked in server.asked] == [
        ("POST", "/api/v1/claim"),
        ("POST", f"{trial}/heartbeat"),
        ("POST", f"{trial}/report"),
        ("POST", f"{trial}/release"),
        ("POST", f"{trial}/tell"),
        ("POST", "/api/v1/studies/my%20study/ask"),
        ("PUT", "/api/v1/workers/w"),
    ]
    assert server.asked[1].json() == {"lease": str(LEASE)}
    assert server.asked[2].json()["metrics"] == {"loss": "nan"}
    assert all(asked.headers["content-type"] == "application/json" for asked in server.asked)
    # What a claim id, a lease or a step makes repeat needs no key; the rest is done once however often it is sent.
    assert [index for index, asked in enumerate(server.asked) if "idempotency-key" in asked.headers] == [3, 4, 5]


def test_lists_are_read_through_all_pages() -> None:
    pages = [
        Reply(200, {"items": [STUDY, STUDY], "next_page_token": "a b"}),
        Reply(200, {"items": [STUDY], "next_page_token": None}),
    ]
    with serving(*pages) as server, Client(server.url, "t") as client:
        assert len(client.studies.list(state="running", label="team:vision")) == 3
    first, second = (asked.path for asked in server.asked)
    assert "state=running" in first
    assert "label=team%3Avision" in first
    assert "page_token=a+b" in second
    assert "state=running" in second  # a token is valid only with the same filters


def test_a_curve_longer_than_a_page_is_read_to_its_end() -> None:
    def step(number: int) -> dict[str, object]:
        return {"step": number, "attempt": 1, "metrics": {}, "seconds": None, "at": "2026-01-02T03:04:05Z"}

    pages = [Reply(200, {"items": [step(1), step(2)], "next_page_token": "2"}), Reply(200, {"items": [step(3)]})]
    with serving(*pages) as server, Client(server.url, "t") as client:
        assert [one.step for one in client.studies.metrics("digits", 0)] == [1, 2, 3]
    assert "page_token=2" in server.asked[1].path


def test_a_study_is_created_from_keyword_arguments() -> None:
    with serving(Reply(201, STUDY)) as server, Client(server.url, "t") as client:
        client.studies.create(
            "digits",
            objective=("val_acc", "maximize"),
            trainer="image-cnn",
            config={"dataset": "digits"},
            queue="gpu",
            max_trials=7,
            space={
                "lr": space.float(1e-4, 0.1, log=True),
                "width": space.int(16, 64, step=16),
                "act": space.choice("a", "b"),
            },
            scheduler={"type": "asha", "max_resource": 9},
        )
    sent = server.asked[0].json()
    assert sent["objectives"] == [{"metric": "val_acc", "direction": "maximize"}]
    assert [param["name"] for param in sent["search_space"]] == ["lr", "width", "act"]
    assert sent["search_space"][0] == {
        "type": "float",
        "name": "lr",
        "low": 1e-4,
        "high": 0.1,
        "log": True,
        "step": None,
        "when": None,
        "default": None,
    }
    assert sent["trainer"] == {"name": "image-cnn", "config": {"dataset": "digits"}, "resources": {"queue": "gpu"}}
    assert sent["budget"] == {"max_trials": 7}
    assert sent["scheduler"] == {"type": "asha", "max_resource": 9}


def test_a_space_that_makes_no_sense_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="low must be > 0 when log is true"):
        space.float(0, 1, log=True).named("lr")


def test_a_patch_sends_only_what_is_set_and_guards_with_the_revision() -> None:
    with serving(Reply(200, STUDY)) as server, Client(server.url, "t") as client:
        client.studies.patch("digits", StudyPatch(budget=BudgetPatch(max_trials=9, max_epochs=None)), revision=4)
    assert server.asked[0].json() == {"budget": {"max_trials": 9, "max_epochs": None}}
    assert server.asked[0].headers["if-match"] == '"4"'


def test_the_study_object_speaks_for_its_study() -> None:
    script = [
        Reply(200, STUDY),
        Reply(200, {"items": [STUDY["best"]]}),
        Reply(200, {"items": []}),
        Reply(200, {"items": [RUNG]}),
        Reply(200, {"items": [TRIAL]}),
        Reply(200, {**STUDY, "state": "paused"}),
    ]
    with serving(*script) as server, Client(server.url, "t") as client:
        study = client.studies.get("digits")
        best = study.best
        assert best is not None
        assert best.params == {"lr": 0.01}
        assert study.best is None
        assert study.rungs[0].cutoff == 0.75
        assert [trial.state for trial in study.trials(state="paused")] == ["paused"]
        assert study.pause().info.state == "paused"
    assert server.asked[-1].path.endswith("/pause")


def test_wait_ends_with_the_study_and_not_before() -> None:
    with (
        serving(Reply(200, STUDY), Reply(200, STUDY), Reply(200, {**STUDY, "state": "finished"})) as server,
        Client(server.url, "t") as client,
    ):
        assert client.studies.get("digits").wait(timeout="1m").info.state == "finished"
    assert len(server.asked) == 3


def test_wait_gives_up_in_time() -> None:
    with (
        serving(Reply(200, STUDY)) as server,
        Client(server.url, "t") as client,
        pytest.raises(WaitTimeout, match="still running"),
    ):
        client.studies.get("digits").wait(timeout=0)


def test_waiting_for_a_goal_ends_when_the_best_value_reaches_it() -> None:
    reached = {**STUDY, "best": {**STUDY["best"], "value": 0.9}}
    with (
        serving(Reply(200, STUDY), Reply(200, STUDY), Reply(200, reached)) as server,
        Client(server.url, "t") as client,
    ):
        assert client.studies.get("digits").wait(until="goal").info.best.value == 0.9  # type: ignore[union-attr]


def test_waiting_for_a_goal_fails_when_the_study_ends_without_it() -> None:
    with (
        serving(Reply(200, {**STUDY, "state": "finished"})) as server,
        Client(server.url, "t") as client,
        pytest.raises(WaitTimeout, match="without reaching its goal"),
    ):
        client.studies.get("digits").wait(until="goal")


def test_a_download_whose_bytes_are_wrong_is_refused(tmp_path: Path) -> None:
    from api.schemas.trials import ArtifactRead

    artifact = ArtifactRead(
        name="step-1.safetensors", id=uuid4(), step=1, attempt=1, size_bytes=3, created_at="2026-01-02T03:04:05Z",
        sha256="ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    )  # fmt: skip
    with serving(Reply(200, "abc"), Reply(200, "abd")) as server, Client(server.url, "t") as client:
        assert client.studies.download("digits", 0, artifact, tmp_path / "file").read_text() == "abc"
        with pytest.raises(ApiError, match="sha256"):
            client.studies.download("digits", 0, artifact, tmp_path / "file")


CONFUSION = {
    "step": 9, "class_names": ["cat", "dog"], "matrix": [[3, 1], [0, 4]], "accuracy": 0.875, "balanced_accuracy": 0.875,
    "macro": {"precision": 0.9, "recall": 0.875, "f1": 0.873},
    "per_class": [
        {"name": "cat", "precision": 1.0, "recall": 0.75, "f1": 0.857, "support": 4},
        {"name": "dog", "precision": 0.8, "recall": 1.0, "f1": 0.889, "support": 4},
    ],
}  # fmt: skip


def test_a_confusion_matrix_is_asked_for_by_step_or_as_the_newest() -> None:
    with serving(Reply(200, CONFUSION)) as server, Client(server.url, "t") as client:
        assert client.studies.confusion("my study", 3).matrix == [[3, 1], [0, 4]]
        assert client.studies.confusion("my study", 3, step=9).per_class[1].name == "dog"
    path = "/api/v1/studies/my%20study/trials/3/confusion"
    assert [asked.path for asked in server.asked] == [path, f"{path}?step=9"]
