import json
import subprocess
import sys
from pathlib import Path

import pytest

from models.checkpoint import CorruptCheckpoint
from models.evaluate import evaluate_test
from models.job import BadData, InvalidConfig
from models.train import train

from .conftest import Job

ROOT = Path(__file__).parents[3]
ENTRIES = {"filters1": 8, "filters2": 8, "dense_units": 32, "lr": 0.005}


def command(checkpoint: Path, data_root: Path) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "models.evaluate", str(checkpoint), "--data-root", str(data_root)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)


def test_a_trained_network_is_scored_on_images_it_never_saw(job: Job, tmp_path: Path) -> None:
    for result in train(job(**ENTRIES, max_resource=6)):
        result.save(tmp_path / "saved")
    score = evaluate_test(tmp_path / "saved", tmp_path)
    assert score["images"] == 269
    assert score["test_acc"] > 0.85
    answer = command(tmp_path / "saved", tmp_path)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert json.loads(answer.stdout) == score
    assert answer.stdout.count("\n") == 1


def test_dropout_and_batch_statistics_are_off_while_scoring(job: Job, tmp_path: Path) -> None:
    next(train(job(architecture="resnet_small", width=2, train_images=50))).save(tmp_path / "saved")
    assert evaluate_test(tmp_path / "saved", tmp_path) == evaluate_test(tmp_path / "saved", tmp_path)


def test_a_torn_checkpoint_is_told_in_one_line(job: Job, tmp_path: Path) -> None:
    saved = next(train(job(**ENTRIES, train_images=50))).save(tmp_path / "saved")
    saved.path.write_bytes(saved.path.read_bytes()[:-1])
    with pytest.raises(CorruptCheckpoint):
        evaluate_test(saved.path, tmp_path)
    answer = command(saved.path, tmp_path)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.count("\n") == 1
    assert str(saved.path) in answer.stderr


def test_data_that_is_not_the_one_trained_on_is_refused(job: Job, npz: Path, tmp_path: Path) -> None:
    next(train(job(dataset="cifar10", **ENTRIES))).save(tmp_path / "saved")
    npz.unlink()
    with pytest.raises(BadData, match="no cifar10"):
        evaluate_test(tmp_path / "saved", tmp_path)


def test_a_synthetic_checkpoint_has_no_test_images(job: Job, tmp_path: Path) -> None:
    next(train(job("synthetic"))).save(tmp_path / "saved")
    with pytest.raises(InvalidConfig, match="synthetic"):
        evaluate_test(tmp_path / "saved", tmp_path)
