"""Every command of the documents is run on a real stack, as it stands there, each document from its top to its end.

A block ``yaml`` that begins with ``# name.yaml`` is that file; all lines of a block ``sh`` must exit 0. What cannot be
run here says so behind the language: ``sh no-run: why``.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from ladder.home import DEFAULT_URL
from ladder.stack import LocalStack

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAM = "from ladder import Client, space\n\nwith Client()"
DEADLINE_S = 300


def blocks(document: Path) -> list[tuple[str, str, str]]:
    """Language, what stands behind it, and text."""
    return [(found[1], found[2].strip(), found[3]) for found in BLOCK.finditer(document.read_text())]


WITH_COMMANDS = [one for one in DOCUMENTS if any(kind == "sh" and not said for kind, said, _ in blocks(one))]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("stack"), workers=2, durable=False) as stack:
        stack.wait_workers()
        yield stack


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where a reader stands: the examples at hand, and an Optuna study from before."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    old = optuna.create_study(storage=f"sqlite:///{tmp_path}/old.db", study_name="old-study", direction="maximize")
    space = {"lr": optuna.distributions.FloatDistribution(1e-4, 0.1, log=True)}
    values = ((0.01, 0.91), (0.02, 0.93), (0.05, 0.88))
    old.add_trials([optuna.create_trial(params={"lr": lr}, distributions=space, value=value) for lr, value in values])
    return tmp_path


@pytest.mark.parametrize("document", WITH_COMMANDS, ids=lambda path: path.name)
def test_the_commands_of_a_document_do_what_they_are_there_for(
    document: Path, stack: LocalStack, directory: Path
) -> None:
    for file in sorted((ROOT / "docs").glob("studies.md")):  # whose first study other documents go on from
        write_files(file, directory)
    write_files(document, directory)
    env = {name: value for name, value in os.environ.items() if not name.startswith("LADDER_")}
    env |= {"LADDER_HOME": str(stack.home.path), "NO_COLOR": "1"}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    for kind, said, text in blocks(document):
        command = commands(kind, text.replace(DEFAULT_URL, stack.url))
        if command is None or said:
            continue
        done = subprocess.run(
            command, cwd=directory, env=env, capture_output=True, text=True, check=False,
            timeout=DEADLINE_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{document.name}:\n{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def commands(kind: str, text: str) -> list[str] | None:
    """How a block is run; None if it is only read. Python is run where it is a program that uses the client."""
    if kind == "sh":
        return ["bash", "-exc", text]
    return [sys.executable, "-c", text] if kind == "python" and text.startswith(PROGRAM) else None


def write_files(document: Path, directory: Path) -> None:
    for kind, _, text in blocks(document):
        first = text.partition("\n")[0]
        if kind == "yaml" and re.fullmatch(r"# [a-z0-9-]+\.yaml", first):
            (directory / first.removeprefix("# ")).write_text(text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings_that_exist(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text):
        path, _, heading = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), f"{document.name} leads to {link}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in slugs, f"{document.name} leads to {link}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_is_not_run_says_why(document: Path) -> None:
    for kind, said, _ in blocks(document):
        assert kind != "sh" or not said or re.fullmatch(r"no-run: \S.+", said), said
