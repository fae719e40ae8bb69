// In the head and not deferred: the page must not flash in the other colours first.
(() => {
  const kept = localStorage.getItem("ladder-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
})();
