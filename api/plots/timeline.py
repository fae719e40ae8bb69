"""Who trained what when: a bar an attempt, which Optuna's timeline does not know (it has one a trial)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row

from api.plots.figure import Drawn
from api.plots.seen import Seen

MOST = 500  # attempts
NOTHING = "no trial has been trained yet: start a worker, or look at the study's conditions for what it waits for"
# The colours of Okabe and Ito (2008), told apart by the colour-blind.
COLOURS = {
    "running": "#0072B2",
    "complete": "#009E73",
    "paused": "#56B4E9",
    "pruned": "#E69F00",
    "diverged": "#CC79A7",
    "cancelled": "#999999",
    "drain": "#F0E442",
}
FAILED = "#D55E00"  # all other ends


def draw_timeline(seen: Seen, attempts: Sequence[Row[Any]]) -> Drawn:
    """The newest attempts in lanes of their workers, coloured by how they ended."""
    if not attempts:
        return Drawn(n_trials=seen.head.next_number, reason=NOTHING)
    ends: dict[str, list[Row[Any]]] = {}
    for row in attempts:
        ends.setdefault(row.end_class or "running", []).append(row)
    data = [_bars(end, ends[end]) for end in sorted(ends, key=lambda end: ([*COLOURS, end].index(end), end))]
    workers = sorted({row.worker for row in attempts})
    layout = {
        "barmode": "overlay",
        "xaxis": {"type": "date", "title": {"text": "Time (UTC)"}},
        "yaxis": {"type": "category", "categoryorder": "array", "categoryarray": workers, "autorange": "reversed"},
        "showlegend": True,
    }
    more = len(attempts) == MOST
    return Drawn(
        data,
        layout,
        n_trials=seen.head.next_number,
        shown=len({row.number for row in attempts}),
        sampling=f"the newest {MOST} attempts" if more else None,
    )


def _bars(end: str, rows: Sequence[Row[Any]]) -> dict[str, Any]:
    until = [row.ended_at or row.now for row in rows]
    return {
        "type": "bar",
        "orientation": "h",
        "name": end,
        # Lengths in milliseconds; the shortest would vanish.
        "x": [max(1.0, (stop - row.started_at).total_seconds() * 1000) for row, stop in zip(rows, until, strict=True)],
        "base": [_utc(row.started_at) for row in rows],
        "y": [row.worker for row in rows],
        "customdata": [
            [row.number, row.attempt, row.start_step, row.last_step if row.end_step is None else row.end_step]
            for row in rows
        ],
        "hovertemplate": "#%{customdata[0]} attempt %{customdata[1]}: steps %{customdata[2]} to %{customdata[3]}"
        f"<extra>{end}</extra>",
        "marker": {"color": COLOURS.get(end, FAILED)},
    }


def _utc(at: datetime) -> str:
    """As plotly.js has instants: without a zone, which it would leave out of account."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
