"""``ladder study export``: TensorBoard files read back by their format, and a model fetched over the wire."""

import hashlib
import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.api_pb2 import DataType, Experiment, Status
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

import ladder
from ladder.cli import run
from tests.unit.ladder.events_file import crc32c, records
from tests.unit.ladder.serving import STUDY, Reply, Scripted, problem, serving

SPACE = [
    {"name": "lr", "type": "float", "low": 1e-4, "high": 0.1, "log": True},
    {"name": "width", "type": "int", "low": 4, "high": 64},
    {"name": "optimizer", "type": "categorical", "choices": ["sgd", "adam"]},
    {"name": "nesterov", "type": "categorical", "choices": [True, False], "when": {"optimizer": "sgd"}},
    {"name": "mixed", "type": "categorical", "choices": ["auto", 3]},
    {"name": "folds", "type": "fixed", "value": 5},
]
INFO = {**STUDY, "search_space": SPACE, "description": "digits of old"}
AT = "2026-01-02T03:04:05Z"
STAMP = 1767323045.0


def trial(number: int, state: str, **more: Any) -> dict[str, Any]:
    params = {"lr": 0.01, "width": 8, "optimizer": "sgd", "nesterov": True, "mixed": 3, "folds": 5}
    fields: dict[str, Any] = {
        "number": number, "state": state, "params": params, "value": 0.5, "bracket": 0, "rung": 0, "last_step": 2,
        "target_step": 2, "attempt": 1, "worker": None, "error": None, "created_at": AT, "updated_at": AT,
        "finished_at": None if state in ("running", "queued", "paused") else "2026-01-02T03:05:05Z",
    }  # fmt: skip
    return fields | more


def step(number: int, non_finite: dict[str, str] | None = None, **metrics: float | None) -> dict[str, Any]:
    return {
        "step": number, "attempt": 1, "metrics": metrics, "non_finite": non_finite or {}, "seconds": 1.5,
        "at": f"2026-01-02T03:04:{5 + number:02}Z",
    }  # fmt: skip


TRIALS = [
    trial(0, "complete"),
    trial(1, "failed", params={"lr": 0.1, "width": 4, "optimizer": "adam", "mixed": "auto", "folds": 5, "gone": 1.5}),
    trial(2, "running"),
    trial(3, "queued", attempt=0),
]
CURVES = [
    [step(1, val_acc=0.25, train_loss=2.0), step(2, val_acc=0.5, train_loss=1.0)],
    [step(1, {"train_loss": "inf"}, val_acc=0.1, train_loss=None)],
    [],
]
SCRIPT = [Reply(200, INFO), Reply(200, {"items": TRIALS}), *(Reply(200, {"items": curve}) for curve in CURVES)]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADDER_HOME", str(tmp_path / "home"))


def at(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADDER_URL", server.url)
    monkeypatch.setenv("LADDER_TOKEN", "ldr_a_b")


def export(to: Path, monkeypatch: pytest.MonkeyPatch, *script: Reply, what: str = "tensorboard") -> int:
    with serving(*script) as server:
        at(server, monkeypatch)
        return run(["study", "export", "digits", "--what", what, "-o", str(to)])


def events(directory: Path) -> list[Event]:
    (file,) = directory.glob("*tfevents*")
    return [Event.FromString(record) for record in records(file)]


def plugin(event: Event) -> HParamsPluginData:
    (value,) = event.summary.value
    assert value.metadata.plugin_data.plugin_name == "hparams"
    return HParamsPluginData.FromString(value.metadata.plugin_data.content)


def experiment(to: Path) -> Experiment:
    (event,) = [event for event in events(to) if event.summary.value]
    assert event.summary.value[0].tag == "_hparams_/experiment"
    return plugin(event).experiment


def test_the_check_sum_of_the_reader_is_that_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C (RFC 3720, appendix B.4 gives more)
    assert crc32c(bytes(32)) == 0x8A9136AA


def test_every_trial_that_began_is_a_run_with_its_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "runs" / "digits"
    assert export(to, monkeypatch, *SCRIPT) == 0
    assert capsys.readouterr().out == f"3 runs in {to}\n"
    assert sorted(path.name for path in to.iterdir() if path.is_dir()) == [f"trial-0000{n}" for n in range(3)]
    first, start, *steps, end = events(to / "trial-00000")
    assert (first.file_version, first.wall_time) == ("brain.Event:2", STAMP)
    assert [(one.step, one.wall_time) for one in steps] == [(1, STAMP + 1), (2, STAMP + 2)]
    assert [{v.tag: v.simple_value for v in one.summary.value} for one in steps] == [
        {"val_acc": 0.25, "train_loss": 2.0},
        {"val_acc": 0.5, "train_loss": 1.0},
    ]
    assert start.summary.value[0].tag == "_hparams_/session_start_info"
    assert end.summary.value[0].tag == "_hparams_/session_end_info"


def test_what_was_not_finite_is_written_as_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert export(tmp_path / "runs", monkeypatch, *SCRIPT) == 0
    _, _, one, _ = events(tmp_path / "runs/trial-00001")
    values = {value.tag: value.simple_value for value in one.summary.value}
    assert values["train_loss"] == math.inf
    assert values["val_acc"] == struct.unpack("f", struct.pack("f", 0.1))[0]


def test_a_session_has_the_trials_parameters_and_how_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert export(tmp_path / "runs", monkeypatch, *SCRIPT) == 0
    started = plugin(events(tmp_path / "runs/trial-00000")[1]).session_start_info
    assert {name: value.WhichOneof("kind") for name, value in started.hparams.items()} == {
        "lr": "number_value",
        "width": "number_value",
        "optimizer": "string_value",
        "nesterov": "bool_value",
        "mixed": "string_value",
        "folds": "number_value",
    }
    assert (started.hparams["lr"].number_value, started.hparams["mixed"].string_value) == (0.01, "3")
    assert started.start_time_secs == STAMP
    failed = plugin(events(tmp_path / "runs/trial-00001")[1]).session_start_info
    assert "nesterov" not in failed.hparams  # it was not active
    ends = [plugin(events(tmp_path / f"runs/trial-0000{n}")[-1]).session_end_info for n in range(2)]
    assert [end.status for end in ends] == [Status.Value("STATUS_SUCCESS"), Status.Value("STATUS_FAILURE")]
    assert ends[0].end_time_secs == STAMP + 60
    running = plugin(events(tmp_path / "runs/trial-00002")[-1])
    assert running.WhichOneof("data") == "session_start_info"


def test_the_experiment_tells_every_domain_and_the_objective_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert export(tmp_path / "runs", monkeypatch, *SCRIPT) == 0
    told = experiment(tmp_path / "runs")
    assert (told.name, told.description) == ("digits", "digits of old")
    infos = {info.name: info for info in told.hparam_infos}
    assert list(infos) == ["lr", "width", "optimizer", "nesterov", "mixed", "folds", "gone"]
    assert (infos["lr"].domain_interval.min_value, infos["lr"].domain_interval.max_value) == (1e-4, 0.1)
    assert infos["width"].type == DataType.Value("DATA_TYPE_FLOAT64")
    assert list(infos["optimizer"].domain_discrete) == ["sgd", "adam"]
    assert list(infos["nesterov"].domain_discrete) == [True, False]
    assert list(infos["mixed"].domain_discrete) == ["auto", "3"]
    assert list(infos["folds"].domain_discrete) == [5.0]
    assert infos["gone"].WhichOneof("domain") is None  # the space has lost it since
    assert [info.name.tag for info in told.metric_infos] == ["val_acc", "train_loss"]
    assert told.metric_infos[0].description == "objective: maximize"


def test_exporting_again_replaces_the_files_and_lets_them_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to = tmp_path / "runs"
    assert export(to, monkeypatch, *SCRIPT) == 0
    (running,) = (to / "trial-00002").iterdir()
    before = {path: path.read_bytes() for path in to.rglob("*") if path.is_file()}
    later = [*SCRIPT[:-1], Reply(200, {"items": CURVES[0]})]
    assert export(to, monkeypatch, *later) == 0
    after = {path: path.read_bytes() for path in to.rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    assert {path for path in before if after[path] != before[path]} == {running}
    assert after[running].startswith(before[running])


@pytest.mark.parametrize("content", ["", "{}", json.dumps({"study": "another", "name": "cifar"})])
def test_a_directory_with_something_else_in_it_is_left_alone(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / ("ladder-study.json" if content else "thesis.tex")).write_text(content)
    assert export(tmp_path / "runs", monkeypatch, *SCRIPT) == 1
    told = capsys.readouterr().err
    assert "neither empty nor an export" in told or "another study's export" in told
    assert "name a new directory with -o" in told
    assert len(list((tmp_path / "runs").iterdir())) == 1


@pytest.mark.parametrize(
    ("module", "what", "hint"),
    [("tensorboardX", "tensorboard", "'ladder-hpo[tensorboard]'"), ("safetensors", "model", "safetensors")],
)
def test_a_missing_library_is_told_with_the_extra_that_brings_it(
    module: str, what: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("ladder.cli.extras.find_spec", lambda name: None if name == module else object())
    assert run(["study", "export", "digits", "--what", what, "-o", str(tmp_path / "runs")]) == 1
    told = capsys.readouterr().err
    assert f"--what {what} needs {module}" in told
    assert f"try: pip install {hint}\n" in told


@pytest.mark.parametrize(
    "arguments",
    [["--what", "thesis", "-o", "x"], ["--what", "model"], ["--what", "tensorboard", "-o", "x", "--trial", "1"]],
)
def test_wrong_usage_of_export_exits_2(arguments: list[str]) -> None:
    assert run(["study", "export", "digits", *arguments]) == 2


def test_an_export_of_a_study_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for what in ("tensorboard", "model"):
        missing = problem(404, "not_found", "there is no study 'digits'")
        assert export(tmp_path / "runs", monkeypatch, missing, what=what) == 3
        assert "there is no study" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


# -- the model

IDENTITY: dict[str, Any] = {
    "trainer": "image-cnn", "config": {"architecture": "two_conv", "filters1": 2, "filters2": 2, "dense_units": 4},
    "seed": 1, "step": 2, "split_sha256": "cd" * 32, "image": {"channels": 1, "side": 8, "classes": 10},
    "class_names": [str(k) for k in range(10)],
}  # fmt: skip


def checkpoint(tmp_path: Path) -> bytes:
    """A checkpoint file of the small network of IDENTITY, as the trainer writes them."""
    import torch
    from safetensors.torch import save

    from models.architectures.registry import build
    from models.catalog import parse_config
    from models.datasets import ImageSpec

    config: Any = parse_config("image-cnn", IDENTITY["config"])
    network = build(config, ImageSpec(1, 8, 10))
    tensors = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {"scaling.mean": torch.full((1, 1, 1, 1), 78.5), "scaling.std": torch.full((1, 1, 1, 1), 30.0)}
    return bytes(save(tensors))


def script_of(content: bytes, sha256: str, *, identity: dict[str, Any] = IDENTITY) -> list[Reply]:
    artifact = {
        "name": "step-2.safetensors", "id": STUDY["id"], "step": 2, "attempt": 1, "size_bytes": len(content),
        "sha256": sha256, "created_at": AT,
    }  # fmt: skip
    manifest = {"format": 1, "sha256": sha256, "torch_version": "2.13.0", "identity": identity}
    return [
        Reply(200, INFO),
        Reply(200, trial(0, "complete")),
        Reply(200, {"items": [artifact]}),
        Reply(200, {"items": CURVES[0]}),
        Reply(200, manifest),
        Reply(200, content),
    ]


BEST = (
    Reply(200, INFO),
    Reply(200, {"items": [{"number": 0, "value": 0.5, "params": {}, "state": "complete", "step": 2}]}),
)


def test_the_best_model_is_fetched_and_loads_in_plain_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = checkpoint(tmp_path)
    script = script_of(content, hashlib.sha256(content).hexdigest())
    with serving(*BEST, *script) as server:
        at(server, monkeypatch)
        assert run(["study", "export", "digits", "--what", "model", "-o", str(tmp_path / "out")]) == 0
        asked = [one.path for one in server.asked]
    assert asked[-2:] == [
        f"/api/v1/studies/digits/trials/0/artifacts/step-2.safetensors{end}" for end in ("/manifest", "")
    ]
    assert capsys.readouterr().out == "two_conv of digits, trial 0, epoch 2: val_acc 0.5\n"
    model = ladder.load_model(tmp_path / "out")
    assert (model.card.metrics["train_loss"], model.card.params["lr"], model.card.confirmed) == (1.0, 0.01, False)
    assert model.card.checkpoint_sha256 == hashlib.sha256(content).hexdigest()
    assert model.classes == tuple("0123456789")


def confirmation(state: str) -> dict[str, Any]:
    """As GET /studies/{study} shows it; its study is the one with the last digit 2."""
    winner = {"params": {}, "trial": 5, "search_value": 0.9, "n": 2, "mean": 0.85, "ci95": 0.1, "gap": 0.05}
    test = {"acc": 0.8, "acc_low": 0.7, "acc_high": 0.9, "loss": 0.5, "images": 90, "metrics": {"test_acc": 0.8}}
    finished = state == "finished"
    return {
        "state": state, "reason": None, "study": "digits.confirm", "study_id": STUDY["id"][:-1] + "2", "seeds": 2,
        "folds": None, "train_on": "train", "candidates": [{**winner, "values": [0.8, 0.9], "failed": 0}],
        "recommendation": {**winner, "final_trial": 2, "checkpoint": None} if finished else None,
        "test": test if finished else None,
    }  # fmt: skip


def test_of_a_finished_confirmation_it_is_the_final_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = checkpoint(tmp_path)
    script = script_of(content, hashlib.sha256(content).hexdigest())
    with serving(Reply(200, {**INFO, "confirmation": confirmation("finished")}), *script) as server:
        at(server, monkeypatch)
        assert run(["study", "export", "digits", "--what", "model", "-o", str(tmp_path / "out")]) == 0
        assert server.asked[2].path == f"/api/v1/studies/{STUDY['id'][:-1]}2/trials/2"
    card = ladder.load_model(tmp_path / "out").card
    assert (card.trial, card.confirmed) == (2, True)


def test_while_a_confirmation_runs_it_is_the_best_trial_of_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = checkpoint(tmp_path)
    script = script_of(content, hashlib.sha256(content).hexdigest())
    with serving(Reply(200, {**INFO, "confirmation": confirmation("running")}), BEST[1], *script) as server:
        at(server, monkeypatch)
        assert run(["study", "export", "digits", "--what", "model", "-o", str(tmp_path / "out")]) == 0
    assert ladder.load_model(tmp_path / "out").card.confirmed is False


def test_a_trial_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = checkpoint(tmp_path)
    with serving(*script_of(content, hashlib.sha256(content).hexdigest())) as server:
        at(server, monkeypatch)
        out = str(tmp_path / "out")
        assert run(["study", "export", "digits", "--what", "model", "--trial", "7", "-o", out, "--json"]) == 0
        assert server.asked[1].path == "/api/v1/studies/digits/trials/7"
    assert ladder.load_model(out).card.trial == 7


def test_bytes_that_are_not_those_of_the_artifact_leave_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(tmp_path / "out", monkeypatch, *BEST, *script_of(b"torn", "0" * 64), what="model") == 1
    assert "want " + "0" * 64 in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ([BEST[0], Reply(200, {"items": []})], "no trial of digits has a value yet"),
        ([*BEST, *script_of(b"", "0" * 64)[:2], Reply(200, {"items": []})], "trial 0 of digits has no checkpoint"),
        ([*BEST, *script_of(b"", "0" * 64)[:4], Reply(200, {"step": 2})], "trained by an external trainer"),
        ([*BEST, *script_of(b"", "0" * 64)[:4], Reply(200, "[]")], "is no JSON object"),
    ],
)
def test_where_there_is_no_model_the_reason_is_told(
    script: list[Reply], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(tmp_path / "out", monkeypatch, *script, what="model") == 1
    assert told in capsys.readouterr().err
