// Figures of the API, drawn by plotly once they are in view. An island that fails says why and can be tried again.
(() => {
  "use strict";
  const REFRESH_MS = 10_000;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const make = (tag, set = {}, ...kids) => { const made = Object.assign(document.createElement(tag), set); made.append(...kids); return made; };
  let plotly = null;
  const load = () => plotly ??= new Promise((resolve, reject) => {
    const script = make("script", { src: document.body.dataset.plotly });
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", () => { plotly = null; reject(new Error("plotly.js could not be loaded")); });
    document.head.append(script);
  });

  function dress(layout) {
    const dressed = { ...layout, autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("--text"), family: "system-ui, sans-serif", size: 12 }, margin: { l: 52, r: 12, t: 12, b: 44, ...(layout.margin ?? {}) } };
    for (const name of Object.keys(dressed)) {
      if (/^[xy]axis\d*$/.test(name)) dressed[name] = { ...dressed[name], gridcolor: colour("--plot-grid"), zerolinecolor: colour("--plot-grid"), automargin: true };
    }
    return dressed;
  }

  function problem(box, text, retry) {
    box.classList.add("skeleton");
    const shown = make("div", { className: "problem" }, make("span", {}, text));
    if (retry) shown.append(make("button", { type: "button", onclick: retry }, "Retry"));
    box.removeAttribute("role"); // an image holds no button
    box.replaceChildren(shown);
  }

  async function draw(island, again = false) {
    const box = island.querySelector(".canvas");
    try {
      const answer = await fetch(island.dataset.plot, { headers: { Accept: "application/json" }, cache: "no-cache" });
      const body = await answer.json();
      if (!answer.ok) throw new Error(`${body.title}: ${body.detail} (request ${body.request_id})`);
      island.figure = body;
      if (answer.status === 202) setTimeout(() => draw(island, true), 1000 * Number(answer.headers.get("retry-after") ?? 2));
      const { n_trials: all, shown, reason, sampling, at_step: step } = body.meta;
      const said = [shown != null && shown < all && `${shown} of ${all} trials shown`, step && `after epoch ${step}`, sampling, body.data.length && reason];
      island.querySelector(".meta").textContent = said.filter(Boolean).join("; ");
      if (!body.data.length) { problem(box, reason ?? "Nothing to draw yet."); return; }
      const Plotly = await load();
      if (!box.classList.contains("js-plotly-plot")) box.replaceChildren();
      box.classList.remove("skeleton");
      box.setAttribute("role", "img");
      await Plotly.react(box, body.data, dress(body.layout), { responsive: true, displaylogo: false, displayModeBar: false });
      island.dispatchEvent(new CustomEvent("ladder:drawn", { bubbles: true }));
    } catch (error) {
      if (again && island.figure) return; // it keeps what it shows; the live badge says that the server is away
      problem(box, `Could not draw this: ${error.message}`, () => draw(island));
    }
  }

  function table(island) {
    const old = island.querySelector(".wide");
    if (old) { old.remove(); return; }
    const rows = [];
    for (const { x = [], y = [], z, name = "" } of island.figure?.data ?? []) {
      const grid = Array.isArray(z?.[0]);
      if (grid) y.forEach((b, j) => x.forEach((a, i) => rows.push([name, a, b, z[j][i]])));
      else x.forEach((a, i) => rows.push([name, a, y[i], z?.[i]]));
    }
    const line = (cell, cells) => make("tr", {}, ...cells.map((text) => make(cell, {}, text ?? "–")));
    const body = rows.slice(0, 200).map((row) => line("td", row));
    const made = make("table", {}, make("thead", {}, line("th", ["series", "x", "y", "z"])), make("tbody", {}, ...body));
    island.append(make("div", { className: "wide", tabIndex: 0 }, made));
  }

  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) { seen.unobserve(target); target.begun = true; draw(target); }
  }, { rootMargin: "200px" });
  const islands = () => document.querySelectorAll("[data-plot]");
  for (const one of islands()) seen.observe(one);
  document.addEventListener("click", (event) => { const as = event.target.closest(".as-table"); if (as) table(as.closest("[data-plot]")); });
  document.addEventListener("ladder:theme", () => { for (const one of islands()) if (one.figure?.data.length) draw(one, true); });
  let last = 0, later = null;
  const refresh = () => { last = Date.now(); later = null; for (const one of islands()) if (one.begun) draw(one, true); };
  for (const name of ["trial-updated", "study-updated"]) document.addEventListener(name, () => { later ??= setTimeout(refresh, Math.max(0, REFRESH_MS - (Date.now() - last))); });
})();
