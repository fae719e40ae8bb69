"""The demo, as a newcomer runs it: real images, real workers, and nothing left behind."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

TRIALS = 12


def test_the_demo_finds_a_good_network_prunes_the_rest_and_leaves_nothing_behind() -> None:
    with tempfile.TemporaryDirectory(prefix="ld-") as parent:  # short: unix sockets go below it
        command = [sys.executable, "-m", "ladder", "demo", "--exit", "--json", "--trials", str(TRIALS)]
        env = {**os.environ, "TMPDIR": parent, "HOME": parent}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        outcome = json.loads(done.stdout.splitlines()[-1])
        assert outcome["state"] == "finished"
        assert outcome["trials"] == TRIALS
        assert outcome["search_value"] >= 0.9
        assert outcome["gap"] == pytest.approx(outcome["search_value"] - outcome["mean"])
        assert outcome["test_acc"] >= 0.9
        assert 0 < outcome["epochs"] < outcome["epochs_without_pruning"]
        assert list(Path(parent).glob("ladder*")) == []
        assert [process for process in psutil.process_iter() if _belongs_to(process, parent)] == []


def _belongs_to(process: psutil.Process, parent: str) -> bool:
    try:
        return any(parent in part for part in [*process.cmdline(), *process.environ().values()])
    except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
        return False
