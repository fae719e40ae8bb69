// Figures of the API, drawn by plotly once they are in view. An island that fails says why and can be tried again.
(() => {
  "use strict";
  const REFRESH_MS = 10_000;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  let plotly = null;
  const load = () => plotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = document.body.dataset.plotly;
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
    const shown = document.createElement("div");
    shown.className = "problem";
    shown.append(Object.assign(document.createElement("span"), { textContent: text }));
    if (retry) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Retry" });
      button.addEventListener("click", retry);
      shown.append(button);
    }
    box.removeAttribute("role"); // an image holds no button
    box.replaceChildren(shown);
  }

  async function draw(island, again = false) {
    const box = island.querySelector(".canvas");
    try {
      const answer = await fetch(island.dataset.plot, { headers: { Accept: "application/json" }, cache: "no-cache" });
      if (answer.status === 202) { setTimeout(() => draw(island, true), 1000 * Number(answer.headers.get("retry-after") ?? 2)); return; }
      const body = await answer.json();
      if (!answer.ok) throw new Error(`${body.title}: ${body.detail} (request ${body.request_id})`);
      island.figure = body;
      const meta = island.querySelector(".meta");
      const { n_trials: all, shown, reason } = body.meta;
      meta.textContent = shown != null && shown < all ? `${shown} of ${all} trials shown` : "";
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
    for (const trace of island.figure?.data ?? []) {
      const xs = trace.x ?? [], ys = trace.y ?? [];
      for (let i = 0; i < Math.min(xs.length, 200 - rows.length); i++) rows.push([trace.name ?? "", xs[i], ys[i]]);
      for (const one of trace.dimensions ?? []) rows.push([one.label ?? "", "values", (one.values ?? []).slice(0, 50).join(", ")]);
    }
    const made = document.createElement("table");
    const head = made.createTHead().insertRow();
    for (const name of ["series", "x", "y"]) head.append(Object.assign(document.createElement("th"), { scope: "col", textContent: name }));
    const body = made.createTBody();
    for (const row of rows) { const line = body.insertRow(); for (const cell of row) line.insertCell().textContent = cell ?? "–"; }
    const wide = document.createElement("div");
    wide.className = "wide";
    wide.tabIndex = 0;
    wide.append(made);
    island.append(wide);
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); entry.target.begun = true; draw(entry.target); }
  }, { rootMargin: "200px" });
  const islands = () => document.querySelectorAll("[data-plot]");
  for (const one of islands()) seen.observe(one);
  document.addEventListener("click", (event) => { const as = event.target.closest(".as-table"); if (as) table(as.closest("[data-plot]")); });
  document.addEventListener("ladder:theme", () => { for (const one of islands()) if (one.figure?.data.length) draw(one, true); });
  let last = 0, later = null;
  const refresh = () => { last = Date.now(); later = null; for (const one of islands()) if (one.begun) draw(one, true); };
  for (const name of ["trial-updated", "study-updated"]) document.addEventListener(name, () => { later ??= setTimeout(refresh, Math.max(0, REFRESH_MS - (Date.now() - last))); });
})();
