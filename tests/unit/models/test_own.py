"""Trainers of the user's own: in step with the worker, resumed as if never interrupted, ended where they are told."""

import math
import random
import re
import threading
import time
import tomllib
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

import ladder
from hpo.spec.check import check
from hpo.spec.study import StudySpec
from models import own
from models.checkpoint import CorruptCheckpoint
from models.job import EpochResult, InvalidConfig, Setup, TrainJob
from models.own import StillRunning, beside, find, train_own
from models.own_state import decode, encode
from models.session import Stopped

from .conftest import Job

Config = Mapping[str, Any]


class Watched:
    def __init__(self) -> None:
        self.told: list[object] = []

    def progress(self, done: int, total: int) -> None:
        self.told.append((done, total))

    def started(self, setup: Setup) -> None:
        self.told.append(setup)


def walker(config: Config) -> None:
    """A random walk of all three generators that keeps its place."""
    place = torch.zeros(3, dtype=torch.float64)
    drift = torch.rand(()).item()  # drawn in the set-up, as initial weights are
    state = ladder.restore()
    if state is not None:
        place, drift = state["place"], state["drift"]
    for step in ladder.epochs():
        place += torch.tensor([random.random(), np.random.random(), torch.rand(()).item()])  # noqa: NPY002
        ladder.checkpoint({"place": place, "drift": drift})
        ladder.report(step, place=place.sum() * config.get("scale", 1), drift=drift)


def forgetful(config: Config) -> None:
    """The walk of one that never gives a state."""
    place = 0.0
    for step in ladder.epochs():
        place += random.random()
        ladder.report(step, place=place)


def metrics(results: Generator[EpochResult, None, None]) -> list[tuple[int, dict[str, float]]]:
    return [(result.step, dict(result.metrics)) for result in results]


def saved_at(job: TrainJob, function: Callable[[Config], None], path: Path) -> Path:
    """The checkpoint of the job's last step, which its rung is here."""
    results = train_own(job, function)
    for result in results:
        if result.step == job.max_resource - 3:
            result.save(path)
            results.close()
    return path


def no_thread_left() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("trainer-")]


def test_a_trainer_gives_a_result_for_every_report(job: Job) -> None:
    results = list(train_own(job("walk", max_resource=3, scale=2), walker))
    assert [result.step for result in results] == [1, 2, 3]
    assert [result.finished for result in results] == [False] * 3
    assert results[0].metrics.keys() == {"place", "drift"}
    assert all(result.seconds >= 0 for result in results)
    assert no_thread_left()


def test_a_trainer_does_nothing_until_its_report_was_taken(job: Job) -> None:
    done: list[str] = []

    def function(config: Config) -> None:
        for step in ladder.epochs():
            done.append(f"train {step}")
            ladder.report(step, loss=1.0)
            done.append(f"taken {step}")

    results = train_own(job("own", max_resource=3), function)
    assert done == []
    next(results)
    assert done == ["train 1"]
    next(results)
    assert done == ["train 1", "taken 1", "train 2"]
    results.close()
    assert done == ["train 1", "taken 1", "train 2"]


def test_closing_ends_the_trainer_through_its_finally_blocks_past_its_except_exception(job: Job) -> None:
    done: list[str] = []

    def function(config: Config) -> None:
        try:
            for step in ladder.epochs():
                try:
                    ladder.report(step, loss=1.0)
                except Exception:
                    done.append("caught")
        finally:
            done.append("finally")

    results = train_own(job("own", max_resource=3), function)
    next(results)
    results.close()
    assert done == ["finally"]
    assert no_thread_left()


def test_an_error_of_a_trainer_that_is_ending_is_printed(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    def function(config: Config) -> None:
        try:
            ladder.report(1, loss=1.0)
        finally:
            raise LookupError("no file to close")

    results = train_own(job("own"), function)
    next(results)
    results.close()
    assert "LookupError: no file to close" in capsys.readouterr().err


def test_a_trainer_that_swallows_the_end_is_told_again_at_every_report(job: Job) -> None:
    told: list[bool] = []

    def function(config: Config) -> None:
        for step in (1, 2, 3):
            try:
                ladder.report(step, loss=1.0)
            except Stopped:
                told.append(ladder.should_stop())

    results = train_own(job("own", max_resource=3), function)
    next(results)
    results.close()
    assert told == [True] * 3


def test_a_trainer_that_does_not_end_is_not_waited_for(job: Job) -> None:
    release = threading.Event()

    def function(config: Config) -> None:
        try:
            ladder.report(1, loss=1.0)
        finally:
            release.wait()

    results = train_own(job("own"), function, end_s=0.01)
    next(results)
    with pytest.raises(StillRunning, match="'own' goes on"):
        results.close()
    release.set()
    [thread] = [thread for thread in threading.enumerate() if thread.name == "trainer-own"]
    thread.join()


def test_a_trainer_that_goes_on_after_the_last_step_is_stopped(job: Job) -> None:
    steps: list[int] = []

    def function(config: Config) -> None:
        for step in range(1, 100):
            steps.append(step)
            ladder.report(step, loss=1.0)

    assert len(list(train_own(job("own", max_resource=2), function))) == 2
    assert steps == [1, 2]


def test_one_that_returns_early_says_its_last_result_again_as_finished(job: Job, tmp_path: Path) -> None:
    def function(config: Config) -> None:
        for step in ladder.epochs():
            ladder.checkpoint(step)
            ladder.report(step, loss=1 / step)
            if step == 2:
                return

    results = list(train_own(job("own", max_resource=9), function))
    assert [(result.step, result.finished) for result in results] == [(1, False), (2, False), (2, True)]
    assert results[2].metrics == {"loss": 0.5}
    path = results[2].save(tmp_path / "end").path
    [again] = train_own(job("own", max_resource=9, from_step=2, resume=path), lambda config: None)
    assert (again.step, again.metrics, again.finished) == (2, {"loss": 0.5}, True)


def test_one_that_returns_without_a_report_is_an_error(job: Job) -> None:
    with pytest.raises(RuntimeError, match="'own' returned without a report: call"):
        next(train_own(job("own"), lambda config: None))


def test_an_error_of_the_trainer_is_raised_with_its_traceback(job: Job) -> None:
    def function(config: Config) -> None:
        ladder.report(1, loss=1.0)
        raise KeyError("no such layer")

    results = train_own(job("own"), function)
    next(results)
    with pytest.raises(KeyError, match="no such layer") as caught:
        next(results)
    assert "function" in [entry.name for entry in caught.traceback]
    assert no_thread_left()


def test_an_exit_of_the_trainer_is_raised_too(job: Job) -> None:
    def function(config: Config) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        next(train_own(job("own"), function))


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_resumed_walk_equals_the_uninterrupted_one(job: Job, tmp_path: Path, at: int) -> None:
    whole = metrics(train_own(job("walk", max_resource=6), walker))
    results = train_own(job("walk", max_resource=6), walker)
    for result in results:
        if result.step == at:
            path = result.save(tmp_path / "saved").path
            results.close()
    random.seed(99)  # what the process did in between is of no matter
    torch.manual_seed(99)
    assert metrics(train_own(job("walk", max_resource=6, from_step=at, resume=path), walker)) == whole[at:]
    assert whole != metrics(train_own(job("walk", max_resource=6, seed=4), walker))


def test_without_a_state_the_steps_are_trained_again_and_their_reports_do_not_count(job: Job, tmp_path: Path) -> None:
    whole = metrics(train_own(job("own", max_resource=5), forgetful))
    path = saved_at(job("own", max_resource=5), forgetful, tmp_path / "saved")
    watched = Watched()
    resumed = train_own(job("own", max_resource=5, from_step=2, resume=path), forgetful, watched)
    assert metrics(resumed) == whole[2:]
    assert watched.told == [Setup(), (1, 2), (2, 2)]


def test_only_the_steps_since_the_last_state_are_trained_again(job: Job, tmp_path: Path) -> None:
    trained: list[int] = []

    def function(config: Config) -> None:
        total = ladder.restore() or 0
        for step in ladder.epochs():
            trained.append(step)
            total += step
            if step % 2 == 0:
                ladder.checkpoint(total)
            ladder.report(step, total=total)

    path = saved_at(job("own", max_resource=6), function, tmp_path / "saved")  # of step 3, with the state of step 2
    trained.clear()
    resumed = train_own(job("own", max_resource=6, from_step=3, resume=path), function)
    assert [result.metrics["total"] for result in resumed] == [10, 15, 21]
    assert trained == [3, 4, 5, 6]


def test_one_that_returns_while_it_trains_again_is_an_error(job: Job, tmp_path: Path) -> None:
    path = saved_at(job("own", max_resource=5), forgetful, tmp_path / "saved")
    again = job("own", max_resource=5, from_step=2, resume=path)
    with pytest.raises(RuntimeError, match=r"returned after step 1, but this trial has reported 2 steps before"):
        next(train_own(again, lambda config: ladder.report(1, place=0)))


def test_the_state_is_that_of_its_checkpoint_and_not_of_later(job: Job, tmp_path: Path) -> None:
    def function(config: Config) -> None:
        weights = torch.zeros(2)
        for step in ladder.epochs():
            ladder.checkpoint([weights, weights])
            weights += 1
            ladder.report(step, loss=1.0)

    seen: list[Any] = []
    path = saved_at(job("own", max_resource=4), function, tmp_path / "saved")
    resumed = train_own(
        job("own", max_resource=4, from_step=1, resume=path), lambda config: seen.append(ladder.restore())
    )
    next(resumed)
    assert [tensor.tolist() for tensor in seen[0]] == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 8}, "is of seed 3, the job resumes seed 8"),
        ({"from_step": 1}, "is of step 2, the job resumes step 1"),
        ({"scale": 4}, "is of config"),
        ({"trainer": "other"}, "is of trainer walk"),
    ],
)
def test_the_checkpoint_of_another_job_is_refused(
    job: Job, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    path = saved_at(job("walk", max_resource=5), walker, tmp_path / "saved")
    entries = {"trainer": "walk", "max_resource": 5, "from_step": 2, "resume": path, **changed}
    with pytest.raises(CorruptCheckpoint, match=message):
        next(train_own(job(**entries), walker))


def test_tensors_of_a_checkpoint_bear_the_names_of_the_state(job: Job, tmp_path: Path) -> None:
    def function(config: Config) -> None:
        network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
        for step in ladder.epochs():
            ladder.checkpoint({"model": network.state_dict()})
            ladder.report(step, loss=1.0)

    path = saved_at(job("own", max_resource=4), function, tmp_path / "saved")
    tensors = safetensors.torch.load_file(path)
    assert tensors["model.0.weight"].shape == (3, 2)
    assert "model.1.running_mean" in tensors


def test_a_state_comes_back_as_it_was() -> None:
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.8, 0.9))
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = {
        "model": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.default_rng(3).bit_generator.state,
        "legacy": np.random.RandomState(3).get_state(),
        "floats": [0.1, math.inf, -math.inf, np.float64(0.2)],
        "arrays": (np.array(3), np.arange(6, dtype=">i4").reshape(2, 3).astype("i4").T),
        "plain": {"none": None, "yes": True, "text": "ü\ud800", 7: -(2**200)},
        "clash": {"a.b": torch.zeros(1), "a": {"b": torch.ones(1)}},
        "bf16": torch.ones(2, dtype=torch.bfloat16),
    }
    plain, tensors = encode(state)
    found = decode(plain, tensors)
    assert same(found, state)
    torch.optim.Adam(network.parameters()).load_state_dict(found["optimizer"])
    assert math.isnan(decode(*encode(math.nan)))
    generator = random.Random()
    generator.setstate(found["python"])


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, torch.Tensor):
        return found.dtype == wanted.dtype and torch.equal(found, wanted)
    if isinstance(wanted, np.ndarray):
        return bool(found.dtype == wanted.dtype and np.array_equal(found, wanted))
    if isinstance(wanted, Mapping):
        return list(found) == list(wanted) and all(same(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, (list, tuple)):
        return type(found) is type(wanted) and all(map(same, found, wanted)) and len(found) == len(wanted)
    return bool(found == wanted)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"model": torch.nn.Linear(1, 1)}, r"at 'model': got Linear, want a tensor.*; give its state_dict\(\)"),
        ({"a": [1, {2, 3}]}, "at 'a.1': got set"),
        ({"a": {(1, 2): 3}}, r"at 'a': got the key \(1, 2\)"),
        ({True: 1}, "got the key True"),
        ({"a": np.array([object()])}, "at 'a': got an array of object"),
        ({"a": np.array(["x"])}, "at 'a': got an array of"),
        ({"a": torch.zeros(1, dtype=torch.complex128)}, "at 'a': got torch.complex128"),
        ({"a": torch.eye(2).to_sparse()}, "at 'a': got a torch.sparse_coo tensor"),
        ({"a": torch.empty(2, device="meta")}, "at 'a': got a meta tensor"),
        (object(), "checkpoint state: got object"),
        (b"pickle", "checkpoint state: got bytes"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",  # an object's own text has its address
)
def test_what_cannot_be_kept_is_named_by_its_path(state: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        encode(state)


@pytest.mark.parametrize(
    ("step", "given", "message"),
    [
        (2, {"loss": 1.0}, r"step: got 2, want 1: steps are reported one by one"),
        (0, {"loss": 1.0}, "step: got 0, want a whole number"),
        (True, {"loss": 1.0}, "step: got True"),
        (1.5, {"loss": 1.0}, "step: got 1.5"),
        (1, {"loss": "low"}, "metric 'loss': want a number, got str"),
        (1, {"loss": True}, "metric 'loss': want a number, got bool"),
        (1, {"loss": torch.zeros(2)}, "metric 'loss': want one number, got Tensor"),
        (1, {"x" * 101: 1.0}, "name has 1 to 100 characters"),
        (1, {f"m{index}": 1.0 for index in range(101)}, "got 101 metrics"),
    ],
)
def test_a_report_that_cannot_be_is_refused_where_it_is_made(
    job: Job, step: Any, given: dict[str, Any], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        next(train_own(job("own"), lambda config: ladder.report(step, **given)))


def test_a_trainer_that_begins_at_1_when_resumed_is_told_where_to_go_on(job: Job, tmp_path: Path) -> None:
    path = saved_at(job("walk", max_resource=5), walker, tmp_path / "saved")
    resumed = job("walk", max_resource=5, from_step=2, resume=path)
    with pytest.raises(ValueError, match=r"got 1, want 3, since it goes on from step 2: .* see ladder.epochs\(\)"):
        next(train_own(resumed, lambda config: ladder.report(1, place=0)))


def test_a_step_that_is_not_reported_is_an_error_and_no_endless_loop(job: Job) -> None:
    with pytest.raises(RuntimeError, match="step 1 was not reported"):
        next(train_own(job("own"), lambda config: [None for _ in ladder.epochs()] and None))


def test_numbers_that_are_not_finite_are_reported_as_they_are(job: Job) -> None:
    def function(config: Config) -> None:
        ladder.report(1, loss=torch.tensor(math.nan), gap=np.float32(math.inf))

    found = next(train_own(job("own"), function)).metrics
    assert math.isnan(found["loss"])
    assert found["gap"] == math.inf


def test_a_trainer_knows_its_trial_and_has_its_threads(job: Job, tmp_path: Path) -> None:
    seen: list[Any] = []

    def function(config: Config) -> None:
        seen.extend([ladder.trial(), torch.get_num_threads(), config["lr"]])
        torch.set_default_dtype(torch.float64)
        ladder.report(1, loss=1.0)

    list(train_own(job("own", threads=1, max_resource=1, lr=0.1), function))
    trial, threads, lr = seen
    assert (trial.seed, trial.max_resource, trial.data_root, trial.threads) == (3, 1, tmp_path, 1)
    assert (threads, lr) == (1, 0.1)
    assert torch.get_default_dtype() == torch.float32  # the next trial of the process finds what it expects


def test_the_time_of_a_step_is_that_of_its_own_training(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def function(config: Config) -> None:
        now[0] += 100  # the set-up
        for step in ladder.epochs():
            now[0] += step
            ladder.report(step, loss=1.0)

    seconds = []
    for result in train_own(job("own", max_resource=3), function):
        seconds.append(result.seconds)
        now[0] += 1000  # saved, and a decision waited for
    assert seconds == [1, 2, 3]


# -- installed, allowed, by hand


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a package with trainers where Python finds it, as pip does."""

    def put(package: str, code: str, **points: str) -> None:
        site = tmp_path / "site"
        info = site / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name.replace('_', '-')} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{own.GROUP}]", *lines]))
        (site / f"{package}.py").write_text(code)
        monkeypatch.syspath_prepend(site)
        own._load.cache_clear()

    return put


CODE = """
import ladder

def train(config):
    ladder.report(1, loss=config["lr"])

limit = 3
"""


def test_an_installed_trainer_runs_beside_those_of_ladder(job: Job, install: Callable[..., None]) -> None:
    install("their_nets", CODE, their_net="their_nets:train")

    def ours(job: TrainJob, watcher: object = None) -> Generator[EpochResult, None, None]:
        yield EpochResult(7, {}, 0.0, NotImplemented)

    train = beside(ours, frozenset({"their-net"}))
    assert next(iter(train(job("their-net", lr=0.25)))).metrics == {"loss": 0.25}
    assert next(iter(train(job("synthetic")))).step == 7


def test_a_trainer_that_the_operator_does_not_allow_is_not_even_imported(install: Callable[..., None]) -> None:
    install("their_bomb", "raise AssertionError('imported')", bomb="their_bomb:train")
    with pytest.raises(InvalidConfig, match="LADDER_TRAINERS of this worker does not allow 'bomb', want one of other"):
        find("bomb", frozenset({"other"}))


def test_a_trainer_that_is_not_installed_is_told_what_is(install: Callable[..., None]) -> None:
    install("their_others", CODE, present="their_others:train")
    with pytest.raises(InvalidConfig, match=r"'absent' in the group ladder.trainers .*; installed: .*present"):
        find("absent", frozenset({"absent"}))


def test_two_packages_with_one_name_are_refused(install: Callable[..., None]) -> None:
    install("one_pkg", CODE, twice="one_pkg:train")
    install("two_pkg", CODE, twice="two_pkg:train")
    with pytest.raises(InvalidConfig, match=r"one_pkg:train of one_pkg, two_pkg:train of two_pkg; keep one"):
        find("twice", frozenset({"twice"}))


def test_what_is_no_function_is_refused_and_an_import_error_names_the_package(install: Callable[..., None]) -> None:
    install("their_limits", CODE, limit="their_limits:limit", broken="their_limits:nothing")
    with pytest.raises(InvalidConfig, match="their_limits:limit of their_limits is no function"):
        find("limit", frozenset({"limit"}))
    with pytest.raises(AttributeError) as caught:
        find("broken", frozenset({"broken"}))
    assert caught.value.__notes__ == ["while importing the trainer 'broken', their_limits:nothing of their_limits"]


def test_by_hand_a_trainer_prints_its_reports(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LADDER_DATA_ROOT", str(tmp_path))
    walker({})
    assert capsys.readouterr().out.splitlines()[-1].startswith("step 10  place ")
    assert list(ladder.epochs(by_hand=2)) == [1, 2]
    assert ladder.trial(by_hand=4).max_resource == 4
    assert ladder.trial().data_root == tmp_path
    assert (ladder.should_stop(), ladder.restore()) == (False, None)
    with pytest.raises(TypeError, match="'loss'"):
        ladder.report(1, loss="low")


EXAMPLE = Path(__file__).parents[3] / "examples" / "own_trainer"


def test_the_readme_shows_the_example_as_it_is() -> None:
    readme = (EXAMPLE.parents[1] / "README.md").read_text()
    assert f"```python\n{(EXAMPLE / 'digits_mlp.py').read_text()}```" in readme
    points = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]
    [shown] = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    assert tomllib.loads(shown) == {"project": {"entry-points": points}}


def test_the_study_of_the_example_is_valid_where_its_trainer_is_allowed() -> None:
    spec = StudySpec.model_validate(yaml.safe_load((EXAMPLE / "study.yaml").read_text()))
    assert [error.code for error in check(spec)] == ["unknown_trainer"]
    assert check(spec, installed=("digits-mlp",)) == []
