// The rungs view: names the trial that is pointed at and its way; arrow keys move on.
(() => {
  "use strict";
  const WAYS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
  const all = () => [...document.querySelectorAll("#rungs-svg g a")];
  const of = (event) => event.target.closest?.("#rungs-svg g a");
  const place = (dot) => ["x", "y"].map((name) => Number(dot.lastChild.getAttribute(name)));
  const show = (event) => {
    const dot = of(event);
    if (!dot) return;
    const mine = all().filter((one) => one.href.baseVal === dot.href.baseVal);
    for (const one of all()) one.classList.toggle("on", mine.includes(one));
    document.getElementById("way").setAttribute("d", `M${mine.map(place).sort((a, b) => a[0] - b[0]).join("L")}`);
    document.getElementById("rungs-says").textContent = dot.firstChild.textContent;
  };
  for (const name of ["pointerover", "focusin"]) document.addEventListener(name, show);
  document.addEventListener("keydown", (event) => {
    const way = WAYS[event.key], from = of(event);
    if (!way || !event.target.closest?.(".ladder")) return;
    event.preventDefault();
    const [x, y] = from ? place(from) : [0, 0];
    const cost = (one) => {
      const [dx, dy] = [place(one)[0] - x, place(one)[1] - y], along = dx * way[0] + dy * way[1];
      return !from ? 0 : along > 0 ? along + 4 * Math.abs(way[0] ? dy : dx) : 1e9;
    };
    const next = all().sort((a, b) => cost(a) - cost(b))[0];
    if (next && cost(next) < 1e9) next.focus();
  });
})();
