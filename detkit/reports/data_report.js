"use strict";
// Shows the faults of the chosen kind that contain the text searched for; the address keeps neither.
const faults = document.getElementById("faults-table");
if (faults) {
  const kind = document.getElementById("faults-kind");
  const text = document.getElementById("faults-text");
  const count = document.getElementById("faults-count");
  const rows = [...faults.tBodies[0].rows].map((row) => ({ row, text: row.textContent.toLowerCase() }));
  function filter() {
    const wanted = text.value.trim().toLowerCase();
    let shown = 0;
    for (const one of rows) {
      one.row.hidden = (kind.value !== "" && one.row.dataset.kind !== kind.value) || !one.text.includes(wanted);
      shown += one.row.hidden ? 0 : 1;
    }
    count.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} lines`;
  }
  kind.addEventListener("change", filter);
  text.addEventListener("input", filter);
  filter();
}
