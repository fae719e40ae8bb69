import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models import synthetic
from models.catalog import TRAINERS, SyntheticConfig
from models.checkpoint import CorruptCheckpoint, Identity, load, save
from models.job import Diverged
from models.synthetic import SyntheticFault, curve
from models.train import train

from .conftest import Job


def run(job: Job, **entries: object) -> list[dict[str, float]]:
    return [dict(result.metrics) for result in train(job("synthetic", **entries))]


def test_the_best_point_has_the_best_curve() -> None:
    def final(x: float, y: float) -> float:
        return curve(SyntheticConfig(x=x, y=y), 10**6, walk=0.0)["acc"]

    grid = {(x / 10, y / 10): final(x / 10, y / 10) for x in range(11) for y in range(11)}
    assert max(grid, key=lambda point: grid[point]) == (0.7, 0.3)
    assert 0.98 < grid[0.7, 0.3] < 1


def test_curves_rise_and_cross() -> None:
    quick, better = SyntheticConfig(x=0.7, y=0.0), SyntheticConfig(x=0.7, y=0.3)
    accs = [[curve(config, epoch, 0.0)["acc"] for epoch in range(1, 40)] for config in (quick, better)]
    assert all(rising == sorted(rising) for rising in accs)
    assert accs[0][0] > accs[1][0]
    assert accs[0][-1] < accs[1][-1]


def test_a_curve_is_a_function_of_seed_and_params(job: Job) -> None:
    one = run(job, x=0.2, max_resource=5)
    assert tuple(one[0]) == TRAINERS["synthetic"].metrics
    assert one == run(job, x=0.2, max_resource=5)
    assert one != run(job, x=0.2, max_resource=5, seed=4)
    assert one != run(job, x=0.3, max_resource=5)


def test_a_resumed_curve_equals_the_uninterrupted_one(job: Job, tmp_path: Path) -> None:
    straight = run(job, max_resource=6)
    for result in train(job("synthetic", max_resource=3)):
        result.save(tmp_path / f"step-{result.step}")
    assert run(job, from_step=3, max_resource=6, resume=tmp_path / "step-3") == straight[3:]


@pytest.mark.parametrize("lost", ["walk", "generator"])
def test_the_walk_comes_from_the_checkpoint_alone(job: Job, tmp_path: Path, lost: str) -> None:
    straight = run(job, max_resource=6)
    results = train(job("synthetic", max_resource=3))
    first = next(results)
    first.save(tmp_path / "one")
    for result in results:
        result.save(tmp_path / f"step-{result.step}")
    saved = load(tmp_path / "step-3")
    wrong = {**saved.tensors, lost: load(tmp_path / "one").tensors[lost]}
    save(tmp_path / "wrong", saved.manifest.identity, wrong)
    resumed = run(job, from_step=3, max_resource=6, resume=tmp_path / "wrong")
    assert resumed[0] != straight[3]


def test_a_checkpoint_without_the_walk_is_refused(job: Job, tmp_path: Path) -> None:
    identity = Identity(trainer="synthetic", config={}, seed=3, step=1)
    save(tmp_path / "empty", identity, {"other": torch.zeros(1)})
    with pytest.raises(CorruptCheckpoint, match="no walk"):
        run(job, from_step=1, resume=tmp_path / "empty")


def test_a_checkpoint_is_as_large_as_ordered(job: Job, tmp_path: Path) -> None:
    sizes = []
    for ordered in (0, 50_000):
        saved = next(train(job("synthetic", checkpoint_bytes=ordered))).save(tmp_path / str(ordered))
        sizes.append(saved.size_bytes)
    assert 50_000 <= sizes[1] - sizes[0] < 50_100


@pytest.mark.parametrize(
    ("fault", "error"),
    [("raise_at", SyntheticFault), ("oom_at", torch.OutOfMemoryError), ("diverge_at", Diverged)],
)
def test_a_fault_comes_in_its_epoch(job: Job, fault: str, error: type[Exception]) -> None:
    results = train(job("synthetic", max_resource=5, **{fault: 3}))
    assert [next(results).step, next(results).step] == [1, 2]
    with pytest.raises(error):
        next(results)


def test_a_divergence_has_its_step_and_a_loss_that_is_no_number(job: Job) -> None:
    with pytest.raises(Diverged) as caught:
        run(job, diverge_at=2)
    assert caught.value.step == 2
    assert math.isnan(caught.value.metrics["loss"])


def test_a_fault_comes_again_after_a_resume(job: Job, tmp_path: Path) -> None:
    next(train(job("synthetic", raise_at=2))).save(tmp_path / "saved")
    with pytest.raises(SyntheticFault):
        run(job, raise_at=2, from_step=1, resume=tmp_path / "saved")


def test_kill_at_kills_the_process_without_a_word() -> None:
    code = """
from pathlib import Path
from models.job import TrainJob
from models.train import train
for result in train(TrainJob("synthetic", {"kill_at": 2}, 0, 0, 3, None, Path())):
    print(result.step, flush=True)
"""
    root = Path(__file__).parents[3]
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=root
    )
    assert (child.returncode, child.stdout) == (-signal.SIGKILL, "1\n")


class Interrupted(Exception):
    pass


def test_a_hanging_epoch_waits_until_it_is_interrupted(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[float] = []

    def sleep(seconds: float) -> None:
        pieces.append(seconds)
        if len(pieces) == 1000:
            raise Interrupted

    monkeypatch.setattr(synthetic.time, "sleep", sleep)
    with pytest.raises(Interrupted):
        run(job, hang_at=1)
    assert max(pieces) <= synthetic.WAIT_PIECE_S


def test_an_epoch_takes_the_time_that_was_ordered(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(synthetic.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(synthetic.time, "sleep", sleep)
    run(job, epoch_s=2.5, max_resource=4)
    assert now[0] == pytest.approx(110.0, abs=0.1)
