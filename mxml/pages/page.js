"use strict";

// ---- tables that sort by a click on a column's head; rows carry their values in data-value

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  heads.forEach((head, column) => {
    if (head.classList.contains("unsorted")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numeric = head.classList.contains("number");
      // Numbers are wanted largest first, names from A on.
      const first = numeric ? "descending" : "ascending";
      const second = numeric ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? second : first;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows].map((row, i) => ({ row, i, key: value(row, column) }));
      rows.sort((a, b) => {
        if (!numeric) return sign * a.key.localeCompare(b.key) || a.i - b.i;
        // What has no value comes last in either order.
        const [left, right] = [a.key, b.key].map((key) => (key === "" ? NaN : Number(key)));
        return Number.isNaN(left) - Number.isNaN(right) || sign * (left - right) || a.i - b.i;
      });
      body.append(...rows.map((entry) => entry.row));
    });
  });
}

// ---- the label table's filter

const labelFilter = document.getElementById("label-filter");
if (labelFilter) {
  labelFilter.closest(".tools").hidden = false;
  const rows = [...document.getElementById("label-table").tBodies[0].rows];
  const said = document.getElementById("label-filter-said");
  labelFilter.addEventListener("input", () => {
    const wanted = labelFilter.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    const left = rows.filter((row) => !row.hidden).length;
    said.textContent = wanted ? `${left} of ${rows.length} labels` : "";
  });
}

// ---- the heat map: what a cell says, in one line above it

const map = document.getElementById("map");
const cellOf = (event) => event.target.closest("td");
let lit = [];
function point(cell) {
  for (const head of lit) head.classList.remove("lit");
  lit = cell ? [cell.parentNode.cells[0], map.tHead.rows[0].cells[cell.cellIndex]] : [];
  for (const head of lit) head.classList.add("lit");
  if (cell) document.getElementById("map-said").textContent = cell.title;
}
if (map) {
  map.addEventListener("mouseover", (event) => point(cellOf(event)));
  map.addEventListener("mouseleave", () => point(null));
  document.getElementById("map-said").hidden = false;
}

// ---- what is folded away would be missing on paper

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    details.dataset.printed = "";
  }
});
addEventListener("afterprint", () => {
  for (const details of document.querySelectorAll("details[data-printed]")) {
    details.open = false;
    delete details.dataset.printed;
  }
});
