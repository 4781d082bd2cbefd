"use strict";
// Sort a table by one column: ascending, descending, printed order. Empty values stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const bodies = [...table.tBodies];
  const printed = bodies.map((body) => [...body.rows]);
  const rows = printed.flat().filter((row) => !row.classList.contains("section"));
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => row.cells[column].dataset.key;

  const compare = (first, second) => {
    const numbers = [Number(first), Number(second)];
    return numbers.some(Number.isNaN) ? first.localeCompare(second, "en", { numeric: true }) : numbers[0] - numbers[1];
  };

  const sort = (column, direction) => {
    table.classList.toggle("sorted", direction !== "none");
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    if (direction === "none") {
      bodies.forEach((body, index) => body.append(...printed[index]));
      return;
    }
    heads[column].setAttribute("aria-sort", direction);
    const filled = rows.filter((row) => value(row, column) !== "");
    const empty = rows.filter((row) => value(row, column) === "");
    const sign = direction === "ascending" ? 1 : -1;
    filled.sort((a, b) => sign * compare(value(a, column), value(b, column)));
    bodies[0].append(...filled, ...empty);
  };

  heads.forEach((head, column) => {
    const first = head.classList.contains("number") ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    head.querySelector("button").addEventListener("click", () => {
      const next = { [first]: second, [second]: "none" };
      sort(column, next[head.getAttribute("aria-sort")] ?? first);
    });
  });
}
