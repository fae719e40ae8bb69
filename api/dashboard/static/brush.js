// A box on an axis of the parallel coordinates chooses rows of the top trials; a row's button its line.
(() => {
  "use strict";
  const chosen = new Map(); // axis -> [low, high], as shares of its height
  let single = null; // or the number of one trial
  const figure = () => document.querySelector("#linked .js-plotly-plot");
  const number = (row) => Number(row.dataset.number);
  // Where the axes have a row's values, NaN where it has none.
  const heights = (row) => figure().layout.meta.dimensions.map(({ name, range: [low, high], log, categorical, tickvals, ticktext }, axis) => {
    const value = axis ? JSON.parse(row.dataset.params)[name] : row.dataset.value;
    const at = categorical ? tickvals[ticktext.indexOf(String(value))] : log ? Math.log10(value) : Number(value);
    return high > low ? (at - low) / (high - low) : 0;
  });
  const fits = (trial, at) => single === null ? [...chosen].every(([axis, [low, high]]) => at[axis] >= low && at[axis] <= high) : trial === single;

  function show() {
    const rows = [...document.querySelectorAll("#top tbody tr")], any = chosen.size > 0 || single !== null;
    if (!figure() || !rows.length) return;
    for (const row of rows) {
      row.hidden = any && !fits(number(row), heights(row));
      row.classList.toggle("more", !any && row.rowIndex > 10);
    }
    document.getElementById("brushed").textContent = `${any ? `${rows.filter((row) => !row.hidden).length} of ` : ""}the best ${rows.length}`;
    document.getElementById("unbrush").hidden = !any;
    const lines = [...figure().data.keys()].filter((i) => figure().data[i].meta?.number >= 0);
    const opacity = lines.map((i) => figure().data[i]).map((line) => any ? fits(line.meta.number, line.y) ? 1 : 0.05 : 0.5);
    window.Plotly.restyle(figure(), { opacity }, lines);
  }
  function choose(trial) { chosen.clear(); single = trial; show(); }

  document.addEventListener("click", ({ target }) => {
    const row = target.closest("#top .mark")?.closest("tr");
    if (row) choose(single === number(row) ? null : number(row));
    if (target.id === "unbrush") choose(null);
  });
  document.addEventListener("ladder:drawn", ({ target }) => {
    if (!target.closest("#linked")) return;
    if (!figure().linked) {
      figure().linked = true;
      figure().on("plotly_deselect", () => choose(null));
      figure().on("plotly_selected", (box) => {
        if (!box?.range) return;
        const [left, right] = box.range.x;
        single = null;
        for (const axis of figure().layout.meta.dimensions.keys()) if (axis >= left && axis <= right) chosen.set(axis, [...box.range.y].sort((a, b) => a - b));
        show();
      });
    }
    show();
  });
  document.addEventListener("htmx:after:swap", show);
})();
