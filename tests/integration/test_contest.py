"""A contest from a file on the whole stack: every study ends within its budget, and the table is what they say."""

import csv
import io
import json
from pathlib import Path
from statistics import fmean

import pytest
from scipy.stats import rankdata

from ladder.cli import run
from ladder.client import Client
from tests.audit import audit
from tests.conftest import StackFactory

FILE = Path(__file__).parents[2] / "examples/contest-synthetic.yaml"
METHODS, SEEDS, EPOCHS = ("grid", "random", "asha"), (0, 1), 24


def test_a_contest_runs_to_its_end_and_its_table_is_what_its_studies_found(
    stack: StackFactory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    running = stack(workers=2)
    monkeypatch.setenv("LADDER_URL", running.url)
    monkeypatch.setenv("LADDER_TOKEN", running.token)
    assert run(["contest", "create", "-f", str(FILE), "--watch", "--json"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["state"], last["complete"]) == ("finished", "6/6")
    assert audit(running.database_url, checkpoint_root=running.checkpoint_root) == []

    with Client(running.url, running.token) as client:
        studies = {(m, s): client.studies.read(f"contest-synthetic.{m}.s{s}") for m in METHODS for s in SEEDS}
        best = {key: client.studies.best(study.name)[0].value for key, study in studies.items()}
        result = client.contests.result("contest-synthetic")
        rows = list(csv.DictReader(io.StringIO(client.contests.csv("contest-synthetic"))))
        trials = {key: client.studies.trials(study.name) for key, study in studies.items()}
    for key, study in studies.items():
        assert study.state == "finished"
        assert study.usage.epochs == sum(trial.last_step for trial in trials[key]) <= EPOCHS
        assert study.state_reason == "max_epochs"
    # The same method with another seed is another search; a seed by itself decides nothing else.
    assert [t.params for t in trials["random", 0]] != [t.params for t in trials["random", 1]]
    assert len({trial.params["x"] for trial in trials["grid", 0]}) <= 3

    ranks = {seed: dict(zip(METHODS, rankdata([best[m, seed] for m in METHODS]), strict=True)) for seed in SEEDS}
    for row in result.items:
        mine = [studies[row.method, seed] for seed in SEEDS]
        assert row.value_mean == pytest.approx(fmean(best[row.method, seed] for seed in SEEDS))
        assert row.value_best == min(best[row.method, seed] for seed in SEEDS)
        assert row.mean_rank == pytest.approx(fmean(ranks[seed][row.method] for seed in SEEDS))
        assert row.epochs_total == sum(study.usage.epochs for study in mine)
        assert row.gpu_hours == pytest.approx(sum(study.usage.gpu_hours for study in mine))
        assert row.trials == sum(trial.last_step > 0 for seed in SEEDS for trial in trials[row.method, seed])
        assert (row.finished, row.failed, row.running) == (2, 0, 0)
        assert row.wall_hours > 0
        assert row.value_ci95 is not None
    assert [row.mean_rank for row in result.items] == sorted(row.mean_rank or 0 for row in result.items)
    assert [row["method"] for row in rows] == [row.method for row in result.items]
    assert [float(row["value_mean"]) for row in rows] == [row.value_mean for row in result.items]
