"use strict";
// Sorts the rows of a table of class "sortable" by the column whose head is clicked; a cell's data-value goes before its text.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sortBy(column));
  });

  function sortBy(column) {
    const before = heads[column].getAttribute("aria-sort");
    const holdsNumbers = [...table.tBodies[0].rows].some((row) => row.cells[column].dataset.value !== undefined);
    const descending = before ? before === "ascending" : holdsNumbers; // names from A, numbers from the largest
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row) => ({ row, value: valueOf(row.cells[column]) }));
    rows.sort((a, b) => compare(a.value, b.value, descending ? -1 : 1));
    table.tBodies[0].append(...rows.map((one) => one.row));
  }

  function valueOf(cell) {
    if (cell.dataset.value === undefined) return cell.textContent.trim();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  }

  function compare(a, b, sign) { // what has no value is last either way
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
  }
}
