// Which columns the table of a study's trials has: kept in the address, and from visit to visit in this browser.
(() => {
  "use strict";
  const menu = document.getElementById("columns");
  if (!menu) return;
  const key = `ladder-columns-${menu.dataset.study}`, here = new URL(location.href);
  const kept = JSON.parse(localStorage.getItem(key) ?? "[]");
  if (here.searchParams.has("col")) localStorage.setItem(key, JSON.stringify(here.searchParams.getAll("col")));
  else if (Array.isArray(kept) && kept.length) {
    for (const name of kept) here.searchParams.append("col", String(name));
    location.replace(here);
    return;
  }
  menu.querySelector("[data-forget]").addEventListener("click", () => localStorage.removeItem(key));
  // Columns that nobody chose stay out of the address.
  const boxes = [...menu.querySelectorAll("input")], before = boxes.map((one) => one.checked).join();
  menu.closest("form").addEventListener("submit", () => {
    if (!here.searchParams.has("col") && boxes.map((one) => one.checked).join() === before) for (const one of boxes) one.disabled = true;
  });
})();
