// The log of a running attempt goes on by itself. Lines are hostile: they become text and nothing else.
(() => {
  "use strict";
  const log = document.querySelector("pre.log[data-live]"), box = document.getElementById("follow");
  if (!log || !box) return;
  const EVERY_MS = 2_000, KEPT = 2_000;
  const find = log.dataset.find.toLowerCase();
  let after = Number(log.dataset.after), timer = null;

  function add(line) {
    if (!line.text.toLowerCase().includes(find)) return;
    const shown = document.createElement("span");
    shown.className = line.stream;
    const time = document.createElement("time");
    time.textContent = new Date(line.at).toISOString().slice(11, 19);
    shown.append(time, ` ${line.text.slice(0, 2000)}\n`);
    log.append(shown);
    document.getElementById("no-lines").hidden = true;
    if (log.children.length > KEPT) log.firstElementChild.remove();
  }

  async function more() {
    timer = null;
    let wait = EVERY_MS;
    try {
      const url = new URL(log.dataset.url, location.href);
      url.searchParams.set("after", after);
      const answer = await fetch(url, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(answer.status);
      const page = await answer.json();
      const below = log.scrollHeight - log.scrollTop - log.clientHeight < 40; // whoever reads further up stays there
      for (const line of page.items) { add(line); after = line.position; }
      if (below) log.scrollTop = log.scrollHeight;
      if (page.next_page_token) wait = 0;
      else if (page.ended) { box.parentElement.remove(); return; }
    } catch { wait = 4 * EVERY_MS; } // the live badge says that the server is away
    if (box.checked) timer = setTimeout(more, document.hidden ? 4 * wait : wait);
  }
  log.scrollTop = log.scrollHeight;
  box.addEventListener("change", () => { if (box.checked && timer === null) more(); });
  more();
})();
