"""The example of a trainer of the user's own, installed by pip and trained by a real stack, paused and resumed."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.numpy import load_file

from ladder import Client
from ladder.errors import ApiError
from ladder.process import wait_until
from ladder.stack import LocalStack
from ladder.study import Study
from tests.audit import audit

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_trainer"
WAIT_S = 150.0
TRIALS, FULL = 9, 27


@dataclass(frozen=True)
class Trained:
    """The example's study, paused and resumed on its way, and its first trials trained at a stretch."""

    promoting: Study
    whole: Study


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip has installed the example."""
    made = tmp_path_factory.mktemp("own")
    source = made / "source"  # a build leaves traces where it runs
    shutil.copytree(EXAMPLE, source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(made / "site"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return made / "site"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, site: Path) -> Iterator[LocalStack]:
    # Quick to hear of the pause; with leases as long as ever, so that no attempt is lost on a busy machine.
    settings = {"LADDER_HEARTBEAT_S": "0.2", "LADDER_TRAINERS": "digits-mlp, digits-gone"}
    home = tmp_path_factory.mktemp("ladder")
    with LocalStack(home, workers=0, settings_env=settings, durable=False) as stack:
        # The package is installed for the worker alone: the API knows its name and nothing else.
        root = Path(__file__).parents[2]
        stack.spawn_worker(env={"PYTHONPATH": f"{root}:{site}", "LADDER_THREADS": "1"})
        yield stack


@pytest.fixture(scope="module")
def client(stack: LocalStack) -> Iterator[Client]:
    with Client(stack.url, stack.token) as client:
        yield client


@pytest.fixture(scope="module")
def trained(stack: LocalStack, client: Client) -> Trained:
    example = yaml.safe_load((EXAMPLE / "study.yaml").read_text())
    assert example["scheduler"]["max_resource"] == FULL
    spec = {**example, "budget": {"max_trials": TRIALS}}
    promoting = client.studies.create(spec)
    next(event for event in promoting.events() if event.type == "trial-reported")
    promoting.pause()
    wait_until(lambda: not promoting.trials(state="running"), "the trial has been handed back", timeout_s=WAIT_S)
    assert promoting.state == "paused"
    promoting.resume()
    assert promoting.wait(timeout=WAIT_S).info.state == "finished"
    [best] = client.studies.best("digits-mlp")
    # Only up to the best trial: what comes after it says nothing more.
    budget, checkpoints = {"max_trials": best.number + 1}, {"every": FULL}
    fifo = {"scheduler": {"type": "fifo", "max_resource": FULL}, "budget": budget, "checkpoints": checkpoints}
    whole = client.studies.create({**spec, "name": "whole", **fifo})
    assert whole.wait(timeout=WAIT_S).info.state == "finished"
    assert audit(stack.database_url, checkpoint_root=stack.checkpoint_root) == []
    return Trained(promoting, whole)


def test_a_study_with_an_own_trainer_ends_with_a_good_network(client: Client, trained: Trained) -> None:
    [best] = client.studies.best("digits-mlp")
    assert best.value > 0.85
    assert trained.promoting.info.counts.failed == 0
    assert {trial.state for trial in trained.promoting.trials()} <= {"complete", "paused", "pruned"}


def test_the_best_trial_was_interrupted_and_has_the_curve_and_tensors_of_one_that_was_not(
    client: Client, trained: Trained, tmp_path: Path
) -> None:
    [best] = client.studies.best("digits-mlp")
    attempts = client.studies.attempts("digits-mlp", best.number)
    assert len(attempts) > 1
    assert [attempt.start_step for attempt in attempts[1:]] == [attempt.end_step for attempt in attempts[:-1]]
    curve = curve_of(trained.promoting, best.number)
    assert [step for step, _ in curve] == list(range(1, FULL + 1))
    assert curve == curve_of(trained.whole, best.number)
    resumed, straight = (
        last_tensors(client, study, best.number, tmp_path / study.name) for study in (trained.promoting, trained.whole)
    )
    assert resumed.keys() == straight.keys()
    assert "network.0.weight" in resumed
    assert all(tensor.tobytes() == straight[name].tobytes() for name, tensor in resumed.items())


def curve_of(study: Study, number: int) -> list[tuple[int, dict[str, Any]]]:
    return [(step.step, dict(step.metrics)) for step in study.metrics(number)]


def last_tensors(client: Client, study: Study, number: int, to: Path) -> dict[str, Any]:
    artifact = max(client.studies.artifacts(study.name, number), key=lambda one: one.step)
    assert artifact.step == FULL
    return dict(load_file(client.studies.download(study.name, number, artifact, to)))


def test_a_trainer_that_is_not_allowed_is_refused_by_the_api(client: Client) -> None:
    spec = yaml.safe_load((EXAMPLE / "study.yaml").read_text())
    with pytest.raises(
        ApiError, match=r"unknown trainer 'digits-rnn', want one of digits-gone, digits-mlp, .*_TRAINERS"
    ):
        client.studies.create({**spec, "name": "refused", "trainer": {"name": "digits-rnn"}})


def test_a_trainer_that_the_worker_lacks_fails_its_trial_by_name(client: Client) -> None:
    spec = yaml.safe_load((EXAMPLE / "study.yaml").read_text())
    study = client.studies.create(
        {**spec, "name": "gone", "trainer": {"name": "digits-gone"}, "budget": {"max_trials": 1}}
    )
    study.wait(timeout=WAIT_S)
    [trial] = study.trials()
    assert trial.state == "failed"
    assert trial.error is not None
    assert trial.error["type"] == "user_error"
    assert "no package with the entry point 'digits-gone' in the group ladder.trainers" in trial.error["message"]
