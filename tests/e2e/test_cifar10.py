"""The CIFAR-10 example on real photographs, through the command line and two worker processes."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from ladder.stack import LocalStack

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"


@pytest.mark.slow
def test_the_cifar10_example_learns_from_10_000_real_images() -> None:
    if not (SHARED / "images.py").exists():
        pytest.skip(f"the real images are not at {SHARED}")
    with tempfile.TemporaryDirectory(prefix="lc-") as home:
        data = Path(home) / "data"
        _write_npz(data / "cifar10" / "cifar10.npz")
        with LocalStack(Path(home) / "stack", workers=2, settings_env={"LADDER_DATA_ROOT": str(data)}) as stack:
            stack.wait_workers()
            env = {**os.environ, "LADDER_URL": stack.url, "LADDER_TOKEN": stack.token, "COLUMNS": "120"}
            ladder = [sys.executable, "-m", "ladder"]
            example = str(ROOT / "examples" / "cifar10-asha.yaml")
            made = subprocess.run(
                [*ladder, "study", "create", "-f", example, "--watch"],
                env=env,
                capture_output=True,
                text=True,
                check=False,
            )
            assert made.returncode == 0, made.stderr[-3000:]
            best = subprocess.run([*ladder, "best", "cifar10-asha", "--json"], env=env, capture_output=True, check=True)
            rungs = subprocess.run(
                [*ladder, "rungs", "cifar10-asha", "--json"], env=env, capture_output=True, check=True
            )
    print(made.stdout[-4000:])  # noqa: T201 (what the watch showed, for who runs this by hand with -s)
    found = json.loads(best.stdout.splitlines()[0])
    assert found["value"] > 0.45
    table = [json.loads(line) for line in rungs.stdout.splitlines()]
    assert [row["reported"] for row in table] == sorted((row["reported"] for row in table), reverse=True)
    assert table[-1]["reported"] >= 1


def _write_npz(path: Path) -> None:
    loading = importlib.util.spec_from_file_location("images", SHARED / "images.py")
    assert loading is not None
    assert loading.loader is not None
    images = importlib.util.module_from_spec(loading)
    loading.loader.exec_module(images)
    x, y, _ = images.load("cifar10", "train")
    test_x, test_y, _ = images.load("cifar10", "test")
    path.parent.mkdir(parents=True)
    np.savez(path, images=x, labels=y, test_images=test_x, test_labels=test_y)
