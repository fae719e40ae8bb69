// A box drawn on an axis of the parallel coordinates chooses rows of the top trials; a row's button chooses its line.
(() => {
  "use strict";
  const chosen = new Map(); // axis -> [low, high], as shares of its height
  let single = null; // the number of the one trial that is shown
  const figure = () => document.querySelector("#linked .js-plotly-plot");
  const rows = () => [...document.querySelectorAll("#top tbody tr")];
  // Where the axes have a row's values, NaN where it has none.
  const heights = (row) => {
    const params = JSON.parse(row.dataset.params);
    return figure().layout.meta.dimensions.map(({ name, range: [low, high], log, categorical, tickvals, ticktext }, axis) => {
      const value = axis ? params[name] : row.dataset.value;
      const at = categorical ? tickvals[ticktext.indexOf(String(value))] : log ? Math.log10(value) : Number(value);
      return high > low ? (at - low) / (high - low) : 0;
    });
  };
  const fits = (number, at) => single === null ? [...chosen].every(([axis, [low, high]]) => at[axis] >= low && at[axis] <= high) : number === single;

  function show() {
    if (!figure() || !rows().length) return;
    const any = chosen.size > 0 || single !== null, of = rows().length;
    for (const row of rows()) {
      row.hidden = any && !fits(Number(row.dataset.number), heights(row));
      row.classList.toggle("more", !any && row.rowIndex > 10);
    }
    const left = rows().filter((row) => !row.hidden).length;
    document.getElementById("brushed").textContent = any ? `${left} of the best ${of} are chosen` : `the best ${of}`;
    document.getElementById("unbrush").hidden = !any;
    const lines = figure().data.map((line, i) => [line, i]).filter(([line]) => line.meta?.number >= 0);
    window.Plotly.restyle(figure(), { opacity: lines.map(([line]) => !any ? 0.5 : fits(line.meta.number, line.y) ? 1 : 0.05) }, lines.map(([, i]) => i));
  }
  function clear() { chosen.clear(); single = null; show(); }

  document.addEventListener("click", (event) => {
    if (event.target.id === "unbrush") clear();
    const row = event.target.closest("#top .mark")?.closest("tr");
    if (row) { chosen.clear(); single = single === Number(row.dataset.number) ? null : Number(row.dataset.number); show(); }
  });
  document.addEventListener("ladder:drawn", (event) => {
    if (!event.target.closest("#linked")) return;
    for (const name of ["plotly_selected", "plotly_deselect"]) figure().removeAllListeners(name);
    figure().on("plotly_deselect", clear);
    figure().on("plotly_selected", (box) => {
      if (!box?.range) return;
      const [left, right] = box.range.x, axes = figure().layout.meta.dimensions.keys();
      single = null;
      for (const axis of axes) if (axis >= left && axis <= right) chosen.set(axis, [...box.range.y].sort((a, b) => a - b));
      show();
    });
    show();
  });
  document.addEventListener("htmx:after:swap", show);
})();
