"""Algorithm 2 of Li et al. 2020, written the slow and obvious way."""

from dataclasses import dataclass, field


@dataclass
class ReferenceAsha:
    """Rungs as plain lists, sorted anew for every question."""

    levels: tuple[int, ...]
    eta: int
    rungs: dict[int, list[tuple[float, int, int]]] = field(default_factory=dict)
    gone: set[tuple[int, int]] = field(default_factory=set)  # (rung, trial): promoted or ended there

    def top(self, rung: int) -> list[int]:
        entries = sorted(self.rungs.get(rung, []))
        return [trial for _, _, trial in entries[: len(entries) // self.eta]]

    def report(self, trial: int, rung: int, loss: float, seq: int) -> str:
        self.rungs.setdefault(rung, []).append((loss, seq, trial))
        if rung == len(self.levels) - 1:
            return "complete"
        if trial in self.top(rung):
            self.gone.add((rung, trial))
            return "continue"
        return "pause"

    def promotable(self) -> tuple[int, int] | None:
        """The trial that ``get_job`` would promote, and the rung that it leaves."""
        for rung in reversed(range(len(self.levels) - 1)):
            for trial in self.top(rung):
                if (rung, trial) not in self.gone:
                    return trial, rung
        return None

    def leave(self, trial: int, rung: int) -> None:
        self.gone.add((rung, trial))
