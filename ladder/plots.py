"""Figures of a study: plotly's JSON as the API sends it, shown in notebooks and written to files."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.schemas.analysis import Figure
from ladder.errors import LocalError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure


class Plot(Figure):
    """``data`` and ``layout`` are plotly's; ``meta`` says how many trials are shown, or why there is nothing."""

    def to_plotly(self) -> "PlotlyFigure":
        """The figure as an object of plotly's. Raises LocalError without plotly."""
        _need_plotly()
        from plotly.graph_objects import Figure as PlotlyFigure

        return PlotlyFigure(data=self.data, layout=self.layout)

    def write(self, to: Path) -> Path:
        """Write it as JSON, or as a page of its own that needs no network for a name that ends in .html."""
        if to.suffix == ".html":
            to.write_text(self._page(whole=True), encoding="utf-8")
        else:
            to.write_text(self.model_dump_json(), encoding="utf-8")
        return to

    def _repr_html_(self) -> str:
        return self._page(whole=False)

    def _page(self, *, whole: bool) -> str:
        _need_plotly()
        from plotly.io import to_html

        figure: Mapping[str, Any] = {"data": self.data, "layout": self.layout}
        page: str = to_html(figure, include_plotlyjs=True, full_html=whole, validate=False)
        return page


def _need_plotly() -> None:
    if find_spec("plotly") is None:
        raise LocalError("drawing figures needs plotly on this machine", "pip install plotly")
