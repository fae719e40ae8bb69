"""The figures as a Markdown table and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.search.figures import SHARES, Estimate, Row


def markdown(rows: Sequence[Row], about: str) -> str:
    """A sentence on what was run, and the table. Each cell is the mean with its 95 % interval."""
    shares = [f"{share:.0%}" for share in SHARES]
    head = ["method", *(f"rank {share}" for share in shares), "rank AUC", *(f"regret {share}" for share in shares)]
    lines = [about, "", "| " + " | ".join([*head, "CPU s/run"]) + " |", "|---|" + "---:|" * len(head)]
    for row in rows:
        ranks = [_cell(rank, 2) for rank in (*row.ranks, row.rank_auc)]
        regrets = [_cell(regret, 4) for regret in row.regrets]
        lines.append("| " + " | ".join([row.method, *ranks, *regrets, f"{row.seconds:.1f}"]) + " |")
    return "\n".join(lines) + "\n"


def as_json(rows: Sequence[Row], about: str) -> dict[str, Any]:
    return {"about": about, "shares": list(SHARES), "methods": [asdict(row) for row in rows]}


def _cell(found: Estimate, digits: int) -> str:
    return f"{found.mean:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"
