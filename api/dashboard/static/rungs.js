// The rungs view: names the trial that is pointed at, traces its way up, moves from dot to dot by the arrow keys.
(() => {
  "use strict";
  const DOTS = "#rungs-svg a[href]", WAYS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
  const all = () => [...document.querySelectorAll(DOTS)];
  const place = (dot) => ["x", "y"].map((name) => Number(dot.querySelector("use").getAttribute(name)));
  const show = (event) => {
    const dot = event.target.closest?.(DOTS);
    if (!dot) return;
    const href = dot.getAttribute("href"), mine = all().filter((one) => one.getAttribute("href") === href);
    for (const one of all()) one.classList.toggle("on", mine.includes(one));
    const way = mine.map(place).sort((a, b) => a[0] - b[0]);
    document.getElementById("way").setAttribute("d", `M${way.map((at) => at.join(" ")).join("L")}`);
    document.getElementById("rungs-says").textContent = dot.querySelector("title").textContent;
  };
  document.addEventListener("pointerover", show);
  document.addEventListener("focusin", show);
  document.addEventListener("keydown", (event) => {
    const way = WAYS[event.key];
    if (!way || !event.target.closest?.(".ladder") || !all().length) return;
    event.preventDefault();
    const from = event.target.closest(DOTS);
    if (!from) { all().at(-1).focus(); return; }
    const [x, y] = place(from);
    const cost = (one) => {
      const [dx, dy] = [place(one)[0] - x, place(one)[1] - y], along = dx * way[0] + dy * way[1];
      return along > 0 ? along + 4 * Math.abs(way[0] ? dy : dx) : Infinity;
    };
    const next = all().reduce((best, one) => cost(one) < cost(best) ? one : best);
    if (cost(next) < Infinity) next.focus();
  });
})();
