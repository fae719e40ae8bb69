"""Experiment E3 by API alone, made tiny: six arms on imbalanced data, each winner trained on all of it and tested."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from ladder.cli import run
from ladder.client import Client
from tests.conftest import StackFactory
from tests.unit.models.conftest import colour_images

EXAMPLES = Path(__file__).parents[2] / "examples"
ARMS = ["balanced", "imbalanced", "weights", "augmentation", "weights-augmentation", "whole"]
TINY = {
    "study.scheduler.max_resource": 4,
    "study.scheduler.n_full": 1,
    "study.confirm.seeds": 1,
    "study.trainer.config.data_path": "e3.npz",
    "study.trainer.config.filters1": 4,
    "study.trainer.config.image_size": 12,
}


def write_data(root: Path) -> None:
    """Eleven classes of 15 to 60 pictures, by the script of the example."""
    (images, labels), (test_images, test_labels) = colour_images(70), colour_images(30, seed=1)
    np.savez(root / "cifar10.npz", images=images, labels=labels, test_images=test_images, test_labels=test_labels)
    found = importlib.util.spec_from_file_location("e3_data", EXAMPLES / "e3_data.py")
    assert found is not None
    assert found.loader is not None
    script = importlib.util.module_from_spec(found)
    found.loader.exec_module(script)
    chosen = ["--most", "60", "--rarest", "15", "--test-per-class", "12", "--out", str(root / "e3.npz")]
    assert script.main(["--data-root", str(root), *chosen]) == 0


def test_six_arms_end_in_the_table_of_the_paper(
    stack: StackFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_data(tmp_path)
    running = stack(workers=2, settings_env={"LADDER_DATA_ROOT": str(tmp_path)})
    monkeypatch.setenv("LADDER_URL", running.url)
    monkeypatch.setenv("LADDER_TOKEN", running.token)
    file = EXAMPLES / "e3-subset-search-cpu.yaml"
    options = [part for path, value in TINY.items() for part in ("--set", f"{path}={value}")]
    assert run(["contest", "create", "-f", str(file), *options, "--watch"]) == 0
    capsys.readouterr()
    assert run(["contest", "result", "e3-subset-search-cpu", "--params", "--markdown"]) == 0
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("|")
    ]
    table = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    assert sorted(table) == sorted(ARMS)

    with Client(running.url, running.token) as client:
        for arm in ARMS:
            search = client.studies.read(f"e3-subset-search-cpu.{arm}.s0")
            confirmation = search.confirmation
            assert confirmation is not None
            assert confirmation.recommendation is not None
            assert confirmation.test is not None
            assert confirmation.test.images == 11 * 12
            params = confirmation.recommendation.params
            shown = table[arm]
            assert shown["optimizer"] == params["optimizer"]
            assert float(shown["test accuracy"]) == pytest.approx(confirmation.test.acc, rel=1e-3)
            for name in ("lr", "dropout"):
                assert float(shown[name]) == pytest.approx(params[name], rel=1e-2)
            child = client.studies.read(str(confirmation.study_id))
            assert child.split_sha256 == search.split_sha256 is not None
            scored = [e for e in client.studies.events(child.name, follow=False) if e.type == "test-scored"]
            assert len(scored) == 1
        hashes = {client.studies.read(f"e3-subset-search-cpu.{arm}.s0").split_sha256 for arm in ARMS}
    assert len(hashes) == 1
