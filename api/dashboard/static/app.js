// The live stream, relative times, keys, copying. Pages work without it; only text nodes are written, never HTML.
(() => {
  "use strict";
  const base = document.documentElement.dataset.base;
  const POLL_MS = 10_000, GATHER_MS = 800, RETRY_MS = 1_000, LONGEST_MS = 8_000, TOAST_MS = 6_000;
  const EVENTS = ["trial-created", "trial-started", "trial-reported", "trial-paused", "trial-promoted", "trial-requeued",
    "trial-finished", "test-scored", "replay-mismatch", "study-updated", "worker-updated", "reset"];
  const byId = (id) => document.getElementById(id);
  const ALL = ["trial-updated", "study-updated", "worker-updated"];

  function toast(text, label, act) {
    const box = document.createElement("div");
    box.className = "toast";
    box.append(Object.assign(document.createElement("span"), { textContent: text }));
    if (label) {
      box.append(Object.assign(document.createElement("button"), { type: "button", textContent: label, onclick: () => { box.remove(); act(); } }));
    } else setTimeout(() => box.remove(), TOAST_MS);
    byId("toasts").replaceChildren(box); // the newest says it all
  }

  // A stream that resumes past the last event it saw. Of a burst the page hears once, after its last event.
  function follow(live) {
    const text = byId("live-text");
    let after = live.dataset.after, lostAt = null, wait = RETRY_MS, gathering = null, source = null, ended = false, up = false;
    const due = new Set();

    const tell = () => {
      gathering = null;
      for (const name of due) live.dispatchEvent(new CustomEvent(name, { bubbles: true }));
      due.clear();
    };
    const note = (name) => {
      due.add(name);
      gathering ??= setTimeout(tell, GATHER_MS);
    };
    const heard = (event) => {
      if (event.lastEventId) after = event.lastEventId;
      note(event.type.startsWith("trial-") || event.type === "test-scored" ? "trial-updated" : event.type);
      if (event.type === "reset") { after = ""; note("trial-updated"); note("study-updated"); }
      if (event.type === "study-updated") note("trial-updated");
    };
    const show = () => {
      live.classList.toggle("on", lostAt === null);
      live.classList.toggle("off", lostAt !== null);
      if (lostAt === null) { text.textContent = "live"; return; }
      const s = Math.round((Date.now() - lostAt) / 1000);
      text.textContent = `live lost ${String(Math.floor(s / 60)).padStart(2, "0")}:${String(s % 60).padStart(2, "0")}, retrying`;
    };
    const connect = () => {
      const url = new URL(live.dataset.url, location.href);
      if (after) url.searchParams.set("after", after);
      source = new EventSource(url);
      source.addEventListener("open", () => {
        if (lostAt !== null) ALL.forEach(note);
        up = true; lostAt = null; wait = RETRY_MS; show();
      });
      for (const name of EVENTS) source.addEventListener(name, heard);
      source.addEventListener("error", () => {
        source.close();
        if (byId("live-ended")) { ended = true; live.classList.remove("on", "off"); text.textContent = "ended"; return; }
        // The stream of a study ends with the study: drawn anew, its page says so. Lost is what cannot be opened again.
        if (up) { up = false; note("study-updated"); } else { lostAt ??= Date.now(); show(); }
        setTimeout(connect, wait);
        wait = Math.min(wait * 2, LONGEST_MS);
      });
    };
    if (byId("live-ended")) { text.textContent = "ended"; return; }
    connect();
    setInterval(() => { if (lostAt !== null) show(); }, 1000);
    setInterval(() => { if (lostAt !== null && !ended) ALL.forEach(note); }, POLL_MS);
    addEventListener("pagehide", () => source.close());
  }

  function span(seconds) {
    const s = Math.round(seconds), cut = Math.floor;
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${cut(s / 60)} m ${s % 60} s`;
    return s < 86400 ? `${cut(s / 3600)} h ${cut(s % 3600 / 60)} m` : `${cut(s / 86400)} d ${cut(s % 86400 / 3600)} h`;
  }
  setInterval(() => {
    for (const one of document.querySelectorAll("time[datetime]")) {
      const past = (Date.now() - Date.parse(one.dateTime)) / 1000;
      const text = "until" in one.dataset ? `${span(Math.max(0, -past))} left` : `${span(Math.max(0, past))} ago`;
      if (one.textContent !== text) one.textContent = text;
    }
  }, 5000);

  const themed = () => document.dispatchEvent(new CustomEvent("ladder:theme"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themed);

  async function copy(text) {
    try { await navigator.clipboard.writeText(text); } catch { // there is none over plain HTTP
      const area = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      if (!done) { toast("The browser did not let us copy."); return; }
    }
    toast("Copied.");
  }

  document.addEventListener("click", (event) => {
    const from = event.target.closest("[data-copy]");
    if (from) copy(from.dataset.copy);
    if (event.target.closest("#theme")) {
      const root = document.documentElement;
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      localStorage.setItem("ladder-theme", root.dataset.theme);
      themed();
    }
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });

  let before = "";
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") for (const menu of document.querySelectorAll("details.menu[open]")) { menu.open = false; menu.querySelector("summary").focus(); }
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, [contenteditable]")) return;
    if (event.key === "/") { const box = document.querySelector("input[type=search]"); if (box) { event.preventDefault(); box.focus(); } }
    if (event.key === "?") byId("help").showModal();
    if (before === "g" && event.key === "s") location.href = `${base}/`;
    if (before === "g" && event.key === "w") location.href = `${base}/workers`;
    before = event.key;
  });

  // What could not be drawn anew: the page keeps what it shows, and says so.
  const failed = (event) => {
    const ctx = event.detail?.ctx;
    const response = ctx?.response;
    if (response?.status === 401 && live) { location.reload(); return; } // elsewhere a form would be lost
    const id = response?.headers.get("x-request-id");
    toast(`Could not refresh${response ? ` (${response.status}${id ? `, request ${id}` : ""})` : ""}.`, live && "Retry",
      () => ALL.forEach((name) => live.dispatchEvent(new CustomEvent(name, { bubbles: true }))));
  };
  document.addEventListener("htmx:response:error", failed);

  document.addEventListener("change", (event) => { if (event.target.matches("[data-submits]")) event.target.form.requestSubmit(); });

  const live = byId("live");
  if (live) follow(live);
})();
