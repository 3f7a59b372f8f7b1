"use strict";
(() => {
  const keyOf = (cell) => ("key" in cell.dataset ? Number(cell.dataset.key) : null);
  const order = (a, b) => {
    const x = keyOf(a), y = keyOf(b);
    if (x !== null && y !== null) return x - y;
    return a.textContent.localeCompare(b.textContent, "en", { numeric: true });
  };
  const missing = (cell) => cell.classList.contains("number") && keyOf(cell) === null;

  for (const table of document.querySelectorAll("table")) {
    const body = table.tBodies[0], rows = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      heading.querySelector("button").addEventListener("click", () => {
        const down = heading.getAttribute("aria-sort") === "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const sorted = [...rows].sort((one, other) => {
          const a = one.cells[column], b = other.cells[column];
          if (missing(a) !== missing(b)) return missing(a) ? 1 : -1;
          return down ? order(b, a) : order(a, b);
        });
        body.append(...sorted);
      });
    });

    const tools = document.querySelector(`.tools[data-for="${table.id.slice("table-".length)}"]`);
    const input = tools.querySelector("input"), count = tools.querySelector(".count");
    const filter = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      count.textContent = words.length ? `${shown} of ${rows.length} rows` : `${rows.length} rows`;
    };
    input.addEventListener("input", filter);
    filter();
  }

  window.addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });
})();
