"""A search on real images whose winners are trained anew and tested, from the command line on the whole stack."""

import json
from pathlib import Path

import pytest

from hpo.domain.trial import training_seed
from ladder.cli import run
from ladder.client import Client
from tests.audit import audit
from tests.conftest import StackFactory

TRIALS, TOP, SEEDS = 20, 3, 5
STUDY = f"""
name: digits
objectives:
  - {{metric: val_acc, direction: maximize}}
search_space:
  - {{name: lr, type: float, low: 1.0e-4, high: 0.1, log: true}}
  - {{name: dropout, type: float, low: 0.0, high: 0.5}}
sampler: {{type: random, seed: 11}}
scheduler: {{type: asha, min_resource: 1, max_resource: 3, reduction_factor: 3}}
trainer:
  name: image-cnn
  config: {{dataset: digits, architecture: two_conv, filters1: 8, filters2: 8, dense_units: 16, batch_size: 32}}
budget: {{max_trials: {TRIALS}}}
confirm: {{top: {TOP}, seeds: {SEEDS}}}
"""


def test_the_winners_of_twenty_trials_on_digits_are_confirmed_and_tested_once(
    stack: StackFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    running = stack(workers=2)
    monkeypatch.setenv("LADDER_URL", running.url)
    monkeypatch.setenv("LADDER_TOKEN", running.token)
    file = tmp_path / "digits.yaml"
    file.write_text(STUDY)
    assert run(["study", "create", "-f", str(file)]) == 0
    assert run(["study", "wait", "digits", "--for", "confirmed", "--timeout", "280s"]) == 0
    capsys.readouterr()
    assert run(["best", "digits", "--confirmed", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert run(["best", "digits", "--confirmed"]) == 0
    printed = capsys.readouterr().out

    with Client(running.url, running.token) as client:
        search, child = client.studies.read("digits"), client.studies.read("digits.confirm")
        trials = client.studies.trials("digits.confirm")
        scored = [e for e in client.studies.events("digits.confirm", follow=False) if e.type == "test-scored"]
        reports = [client.studies.metrics("digits.confirm", trial.number) for trial in trials]
    assert (search.state, child.state, child.confirms) == ("finished", "finished", search.id)
    assert sum(search.counts.model_dump().values()) == TRIALS
    assert search.split_sha256 is not None
    assert child.split_sha256 == search.split_sha256
    assert [trial.final for trial in trials] == [None] * TOP * SEEDS + ["train_and_validation"]

    # What is printed is what is stored: the interval and the gap of each winner, and the score.
    assert len(found["candidates"]) == TOP
    for one in found["candidates"]:
        assert (one["n"], one["failed"]) == (SEEDS, 0)
        assert one["gap"] == pytest.approx(one["search_value"] - one["mean"])
        assert one["ci95"] > 0
        for figure in (one["mean"], one["ci95"], one["gap"]):
            assert f"{figure:.6g}" in printed
    assert f"accuracy {found['test']['acc']:.6g} (95 % CI " in printed
    assert found["test"]["acc_low"] < found["test"]["acc"] < found["test"]["acc_high"]
    assert found["test"]["acc"] > 0.8

    # Every seed is a fresh one, and the walks differ for it.
    seeds = [training_seed(child.sampler.seed or 0, trial.number) for trial in trials]
    searched = {training_seed(search.sampler.seed or 0, number) for number in range(TRIALS)}
    assert len({*seeds} | searched) == TRIALS + TOP * SEEDS + 1
    assert len(set(found["candidates"][0]["values"])) > 1

    # The sealed part was read once, by the final trial, in its last report.
    assert [(event.trial, event.data["step"]) for event in scored] == [(TOP * SEEDS, 3)]
    told = [(n, step.step) for n, steps in enumerate(reports) for step in steps if "test_acc" in step.metrics]
    assert told == [(TOP * SEEDS, 3)]
    assert audit(running.database_url, checkpoint_root=running.checkpoint_root) == []
