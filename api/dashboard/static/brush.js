// A brush on the parallel coordinates filters the table of top trials; a row's button brushes its trial.
(() => {
  "use strict";
  const figure = () => document.querySelector("#linked .js-plotly-plot");
  const axes = () => figure().data[0]?.dimensions ?? [];
  const rows = () => [...document.querySelectorAll("#top tbody tr")];
  // Where an axis has a row's value: a word at its tick, a number on a log axis at its exponent. NaN where it has none.
  const place = (axis, row) => {
    const params = JSON.parse(row.dataset.params), start = axis.label.replace(/\.\.\.$/, "");
    const value = axis === axes()[0] ? row.dataset.value : params[Object.keys(params).find((name) => name.startsWith(start))];
    const tick = axis.ticktext?.indexOf(String(value)) ?? -1;
    return tick >= 0 ? axis.tickvals[tick] : axis.ticktext ? Math.log10(value) : Number(value);
  };
  const brush = (ranges) => window.Plotly.restyle(figure(), Object.fromEntries(ranges.map((range, i) => [`dimensions[${i}].constraintrange`, [range]])), [0]);

  function filter() {
    const chosen = figure() ? axes().filter((axis) => axis.constraintrange) : [];
    for (const row of rows()) {
      row.hidden = !chosen.every((axis) => [axis.constraintrange].flat(Array.isArray(axis.constraintrange[0]) ? 1 : 0)
        .some(([low, high]) => place(axis, row) >= low && place(axis, row) <= high));
      row.classList.toggle("more", !chosen.length && row.rowIndex > 10);
    }
    const left = rows().filter((row) => !row.hidden).length;
    if (rows().length) document.getElementById("brushed").textContent = chosen.length ? `${left} of the best ${rows().length} are chosen` : `the best ${rows().length}`;
    document.getElementById("unbrush").hidden = !chosen.length;
  }
  document.addEventListener("click", (event) => {
    const row = event.target.closest("#top .mark")?.closest("tr");
    if (!figure() || !(row || event.target.id === "unbrush")) return;
    brush(axes().map((axis, i) => {
      const at = row && i ? place(axis, row) : NaN, near = (Math.max(...axis.values) - Math.min(...axis.values)) / 500 || 0.01;
      return Number.isFinite(at) ? [at - near, at + near] : null;
    }));
  });
  document.addEventListener("ladder:drawn", (event) => { if (event.target.closest("#linked")) { figure().removeAllListeners("plotly_restyle"); figure().on("plotly_restyle", filter); filter(); } });
  document.addEventListener("htmx:after:swap", filter);
})();
