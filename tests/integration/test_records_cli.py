"""What people ask of a record by the command line, on a real stack: replay, what if, plan, warm starts."""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import psycopg2
import pytest
import yaml

from ladder.cli import run
from ladder.client import Client
from ladder.stack import LocalStack
from tests.conftest import FAST

SPACE = [
    {"name": "x", "type": "float", "low": 0.0, "high": 1.0},
    {"name": "y", "type": "float", "low": 0.0, "high": 1.0},
]
TPE = {"type": "tpe", "seed": 3, "n_startup_trials": 5}
ASHA = {"type": "asha", "max_resource": 9}
BOTH = [{"metric": "acc", "direction": "maximize"}, {"metric": "cost", "direction": "minimize"}]
Json = dict[str, Any]
Told = Callable[..., tuple[int, str, str]]


def study(name: str, **changes: Any) -> Json:
    return {
        "name": name,
        "objectives": [{"metric": "loss", "direction": "minimize"}],
        "search_space": SPACE,
        "sampler": TPE,
        "scheduler": ASHA,
        "trainer": {"name": "synthetic"},
        "budget": {"max_trials": 24},
        **changes,
    }


@pytest.fixture(scope="module")
def running() -> Iterator[LocalStack]:
    with tempfile.TemporaryDirectory(prefix="ladder-test-") as home:
        made = LocalStack(Path(home), workers=3, settings_env=FAST, durable=False)
        try:
            made.start()
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="module")
def client(running: LocalStack) -> Iterator[Client]:
    with Client(running.url, running.token) as made:
        yield made


@pytest.fixture(scope="module")
def pruned(client: Client) -> str:
    """A study of tpe and asha on three workers."""
    client.studies.create(study("pruned")).wait(timeout="90s")
    return "pruned"


@pytest.fixture(scope="module")
def whole(client: Client) -> str:
    """A study whose curves are all complete."""
    fifo = study("whole", scheduler={"type": "fifo", "max_resource": 9}, budget={"max_trials": 20})
    client.studies.create(fifo).wait(timeout="90s")
    return "whole"


@pytest.fixture
def told(running: LocalStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    """Runs a command and tells its exit code, stdout and stderr."""
    monkeypatch.setenv("LADDER_URL", running.url)
    monkeypatch.setenv("LADDER_TOKEN", running.token)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(arguments)
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def in_file(tmp_path: Path) -> Callable[[Any], str]:
    def write(data: Any) -> str:
        file = tmp_path / "given.yaml"
        file.write_text(yaml.safe_dump(data, sort_keys=False))
        return str(file)

    return write


def execute(running: LocalStack, statement: str, *values: Any) -> int:
    url = running.database_url.replace("postgresql+psycopg2://", "postgresql://")
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return int(cursor.rowcount)
    finally:
        connection.close()


def shown(answer: tuple[int, str, str], code: int = 0) -> Json:
    assert answer[0] == code, answer
    found: Json = json.loads(answer[1])
    return found


def test_a_study_of_three_workers_is_derived_again_to_the_last_suggestion(
    client: Client, pruned: str, told: Told
) -> None:
    found = shown(told("replay", pruned, "--json"))
    log = list(client.studies.events(pruned))
    assert (found["identical"], found["difference"], found["events"]) == (True, None, len(log))
    assert found["suggestions"] == 24
    assert found["decisions"] == sum("decision" in event.data for event in log)
    assert found["promotions"] == sum(event.type == "trial-promoted" for event in log)
    code, out, err = told("replay", pruned, "--no-suggestions")
    assert (code, out.splitlines()[-1]) == (0, "identical")
    assert "deriving" in err
    assert shown(told("replay", pruned, "--no-suggestions", "--json"))["suggestions"] == 0


@pytest.mark.parametrize(
    ("kind", "path", "value"), [("trial-created", "{params,x}", "0.125"), ("trial-paused", "{loss}", "-1")]
)
def test_a_forged_event_is_found_and_named(
    running: LocalStack, client: Client, pruned: str, told: Told, kind: str, path: str, value: str
) -> None:
    forged = [event for event in client.studies.events(pruned) if event.type == kind][4]
    before = json.dumps(forged.data)
    update = "UPDATE event SET data = %s WHERE study_id = (SELECT id FROM study WHERE name = %s) AND seq = %s"
    change = update.replace("%s WHERE", f"jsonb_set(data, '{path}', %s) WHERE", 1)
    assert execute(running, change, value, pruned, forged.seq) == 1
    try:
        found = shown(told("replay", pruned, "--json"), code=1)
        assert not found["identical"]
        # A suggestion differs where it stands; a decision that came out the same shows in what follows from it.
        if kind == "trial-created":
            assert (found["difference"]["seq"], found["difference"]["trial"]) == (forged.seq, forged.trial)
            assert value in found["difference"]["recorded"]
        else:
            assert found["difference"]["seq"] >= forged.seq
        code, out, err = told("replay", pruned)
        assert code == 1
        assert f"differs at event {found['difference']['seq']}" in out
        assert f"optuna {optuna.__version__}" in err
    finally:
        assert execute(running, update, before, pruned, forged.seq) == 1
    assert shown(told("replay", pruned, "--json"))["identical"]


def test_a_study_that_runs_is_derived_up_to_now(client: Client, told: Told) -> None:
    slow = {"name": "synthetic", "config": {"epoch_s": 0.02}}
    made = client.studies.create(study("live", trainer=slow, budget={"max_trials": 2000}))
    try:
        events = made.events()
        while next(events).type != "trial-promoted":
            pass
        found = shown(told("replay", "live", "--json"))
        assert made.state == "running"
    finally:
        client.studies.cancel("live")
    assert found["identical"]
    assert found["promotions"] >= 1


def test_other_schedulers_on_whole_curves_spend_less_and_miss_nothing(client: Client, whole: str, told: Told) -> None:
    arguments = ["--scheduler", "median", "--set", "scheduler.min_trials=3", "--set", "grace=2"]
    arguments += ["--scheduler", "asha", "--set", "reduction_factor=2", "--workers", "2"]
    found = shown(told("whatif", whole, *arguments, "--json"))
    own, median, asha = found["schedulers"]
    best = client.studies.best(whole)[0]
    assert found["recorded"]["epochs"] == own["epochs"] == 20 * 9
    assert found["recorded"]["best"] == own["best"] == {"trial": best.number, "step": 9, "value": best.value}
    assert (median["scheduler"]["min_trials"], median["scheduler"]["grace"]) == (3, 2)
    assert (asha["scheduler"]["reduction_factor"], asha["scheduler"]["max_resource"]) == (2, 9)
    for one in (median, asha):
        assert one["epochs"] < 180
        assert (one["trials"], one["censored"], one["certain_best"]) == (20, [], one["best"])
    curves = {curve.number: curve for curve in client.studies.curves(whole)}
    assert asha["best"]["value"] == curves[asha["best"]["trial"]].losses[asha["best"]["step"] - 1]


def test_what_a_pruned_record_cannot_tell_is_said(client: Client, pruned: str, told: Told) -> None:
    (own, fifo) = shown(told("whatif", pruned, "--scheduler", "fifo", "--workers", "3", "--json"))["schedulers"]
    short = [curve for curve in client.studies.curves(pruned) if len(curve.steps) < 9]
    assert {one["trial"] for one in fifo["censored"]} == {curve.number for curve in short}
    assert fifo["epochs_missing"] == sum(9 - len(curve.steps) for curve in short)
    assert fifo["epochs"] == sum(len(curve.steps) for curve in client.studies.curves(pruned))
    assert fifo["certain_epochs"] < fifo["epochs"]
    assert fifo["certain_best"]["value"] >= fifo["best"]["value"]
    code, out, _ = told("whatif", pruned, "--scheduler", "fifo", "--workers", "3")
    assert code == 0
    assert f"fifo: wanted {len(short)} trials trained further than recorded" in out
    assert "  ~" in out
    assert own["label"] == "asha (its own)"


def test_schedulers_may_stand_in_a_file_with_pruners(whole: str, told: Told, in_file: Callable[[Any], str]) -> None:
    file = in_file(
        {"wide": {"type": "asha", "pruners": [{"type": "patience", "patience": 2}]}, "stop": {"type": "fifo"}}
    )
    _, wide, stop = shown(told("whatif", whole, "--file", file, "--json"))["schedulers"]
    assert (wide["label"], wide["pruners"][0]["patience"], stop["epochs"]) == ("wide", 2, 180)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "at least one --scheduler"),
        (["--set", "grace=3", "--scheduler", "median"], "belongs to the --scheduler before it"),
        (["--scheduler", "frob"], "/scheduler/type"),
        (["--scheduler", "pbt", "--set", "interval=3"], "no recorded curve"),
        (["--scheduler", "median", "--set", "graze=3"], "/scheduler/graze: unknown field"),
    ],
)
def test_what_cannot_be_asked_is_wrong_usage(whole: str, told: Told, arguments: list[str], message: str) -> None:
    code, out, err = told("whatif", whole, *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_a_plan_shows_rungs_epochs_and_hours(told: Told, whole: str, in_file: Callable[[Any], str]) -> None:
    file = in_file(study("planned", budget={"max_trials": 27}))
    found = shown(told("plan", "-f", file, "--epoch-s", "36", "--workers", "4", "--json"))
    assert [(rung["resource"], rung["trials"]) for rung in found["rungs"]] == [(1, 27), (3, 9), (9, 3)]
    assert found["epochs"] == 27 + 9 * 2 + 3 * 6
    assert (found["gpu_hours"], found["hours"]) == (found["epochs"] / 100, found["epochs"] / 400)
    assert found["epochs_low"] <= found["epochs"] + 9
    code, out, _ = told("plan", "-f", file, "--set", "budget.max_trials=9", "--like", whole)
    assert code == 0
    assert "s an epoch" in out
    assert "device hours" in out
    assert "hours" not in told("plan", "-f", file)[1]
    assert told("plan", "-f", file, "--like", whole, "--epoch-s", "1")[0] == 2
    assert told("plan", "-f", file, "--like", "nobody")[0] == 3
    code, _, err = told("plan", "-f", file, "--set", "scheduler.max_resource=0")
    assert code == 2
    assert "/scheduler/max_resource" in err
    assert told("study", "get", "planned")[0] == 3


def test_an_enqueued_configuration_is_trained_first(client: Client, told: Told) -> None:
    client.studies.create(study("waiting", start=False))
    assert shown(told("trial", "enqueue", "waiting", "x=0.5", "y=1e-1", "--json")) == {
        "params": {"x": 0.5, "y": 0.1}, "repeat": 1, "waiting": 1,
    }  # fmt: skip
    code, out, _ = told("trial", "enqueue", "waiting", "x=0.25", "y=0.25", "--repeat", "2")
    assert (code, out) == (0, "3 configurations wait to become trials\n")
    code, _, err = told("trial", "enqueue", "waiting", "x=fast", "y=0")
    assert code == 2
    assert "/params/x" in err
    for wrong in (["x"], ["=1"], ["x=1", "x=2"], ["x=[1]"], ["x=null"]):
        assert told("trial", "enqueue", "waiting", *wrong)[0] == 2
    client.studies.start("waiting")
    client.studies.get("waiting").wait(timeout="90s")
    first = [trial.params for trial in client.studies.trials("waiting")][:3]
    assert first == [{"x": 0.5, "y": 0.1}, {"x": 0.25, "y": 0.25}, {"x": 0.25, "y": 0.25}]
    assert shown(told("replay", "waiting", "--json"))["identical"]


def test_the_schedule_of_a_population_is_exported(client: Client, told: Told) -> None:
    population = {"type": "pbt", "max_resource": 8, "interval": 2, "population_size": 6}
    random = {"type": "random", "seed": 3}
    made = client.studies.create(study("herd", scheduler=population, sampler=random, budget={"max_trials": 6}))
    made.wait(timeout="90s")
    lines = {}
    for number in range(6):
        code, out, _ = told("trial", "schedule", "herd", str(number), "--json")
        assert code == 0
        lines[number] = [json.loads(line) for line in out.splitlines()]
        assert yaml.safe_load(told("trial", "schedule", "herd", str(number), "--yaml")[1]) == lines[number]
    assert max(map(len, lines.values())) > 1
    assert all(line[0]["after_step"] == 0 for line in lines.values())
    assert "from epoch" in told("trial", "schedule", "herd", "0")[1]
    code, _, err = told("whatif", "herd", "--scheduler", "asha")
    assert code == 1
    assert "population" in err


def test_several_objectives_have_a_front_and_no_best(client: Client, told: Told) -> None:
    random = {"type": "random", "seed": 3}
    fifo = {"type": "fifo", "max_resource": 2}
    made = client.studies.create(study("two", objectives=BOTH, sampler=random, scheduler=fifo))
    made.wait(timeout="90s")
    code, _, err = told("best", "two")
    assert code == 4
    assert "ladder pareto" in err
    code, out, _ = told("pareto", "two")
    assert code == 0
    assert out.split()[:3] == ["trial", "acc", "cost"]
    assert "hypervolume" in out
    assert shown(told("pareto", "two", "--json"))["hypervolume"] > 0
    code, _, err = told("whatif", "two", "--scheduler", "asha")
    assert code == 1
    assert "2 objectives" in err


@pytest.fixture(scope="module")
def cold(client: Client) -> list[Json]:
    client.studies.create(study("cold")).wait(timeout="90s")
    return [trial.params for trial in client.studies.trials("cold")]


def test_a_study_starts_warm_from_another_and_is_derived_again(
    client: Client, whole: str, pruned: str, cold: list[Json], told: Told, in_file: Callable[[Any], str]
) -> None:
    file = in_file(study("warm"))
    code, _, err = told("study", "create", "-f", file, "--warm-start", whole, "--warm-start", pruned)
    assert code == 0, err
    client.studies.get("warm").wait(timeout="90s")
    assert len(client.studies.warm_start("warm").trials) > 20
    params = [trial.params for trial in client.studies.trials("warm")]
    assert not any(one in cold for one in params[:5])  # what is known spares the random start
    assert shown(told("replay", "warm", "--json"))["identical"]
    assert told("study", "create", "-f", in_file(study("lost")), "--warm-start", "nobody")[0] == 2


def test_a_study_starts_warm_from_an_optuna_storage(
    client: Client, cold: list[Json], told: Told, in_file: Callable[[Any], str], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    old = optuna.create_study(study_name="old", storage=url, sampler=optuna.samplers.RandomSampler(1))
    for x in (0.1, 0.3, 0.5, 0.7, 0.8, 0.9):
        for y in (0.2, 0.6):
            old.enqueue_trial({"x": x, "y": y, "unknown": 1})

    def objective(trial: optuna.Trial) -> float:
        x, y = (trial.suggest_float(name, 0, 1) for name in "xy")
        trial.suggest_int("unknown", 0, 1)
        if x == 0.1:
            raise optuna.TrialPruned
        return (x - 0.7) ** 2 + (y - 0.3) ** 2

    old.optimize(objective, n_trials=12)
    file = in_file(study("from-optuna", warm_start={"max_trials": 8}))
    code, _, err = told("study", "create", "-f", file, "--warm-start-optuna", url)
    assert code == 0, err
    client.studies.get("from-optuna").wait(timeout="90s")
    kept = client.studies.warm_start("from-optuna").trials
    assert len(kept) == 8  # the best of the ten that were complete, worst first
    assert kept[-1].params == {"x": 0.7, "y": 0.2}
    params = [trial.params for trial in client.studies.trials("from-optuna")]
    assert not any(one in cold for one in params[:5])
    assert shown(told("replay", "from-optuna", "--json"))["identical"]

    maximize = study("other", objectives=[{"metric": "acc", "direction": "maximize"}])
    for given, data, message in (
        (url, maximize, "was to minimize"),
        (f"{url}#nobody", study("other"), "no study 'nobody': old"),
        (f"sqlite:///{tmp_path / 'absent.db'}", study("other"), "is no Optuna storage"),
        ("old.db", study("other"), "is no Optuna storage"),
        (f"sqlite:///{__file__}", study("other"), "cannot be read"),
        (__file__, study("other"), "cannot be read"),
        (url, study("other", objectives=[{"metric": "loss"}]), "no direction"),
    ):
        code, _, err = told("study", "create", "-f", in_file(data), "--warm-start-optuna", given)
        assert code == 1
        assert message in err
    assert not (tmp_path / "absent.db").exists()
    optuna.create_study(study_name="newer", storage=url)
    file = in_file(study("named"))
    assert "2 studies: newer, old" in told("study", "create", "-f", file, "--warm-start-optuna", url)[2]
    code, _, err = told("study", "create", "-f", file, "--warm-start-optuna", f"{url}#old", "--dry-run")
    assert code == 0, err
    code, _, err = told("study", "create", "-f", file, "--warm-start-optuna", f"{url}#newer")
    assert code == 1
    assert "no complete trial" in err
