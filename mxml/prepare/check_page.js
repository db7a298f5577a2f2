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

// ---- samples that show only the images with the chosen labels

const samples = document.getElementById("samples");
const chosen = new Set();
const cards = samples ? [...samples.querySelectorAll("figure[data-labels]")] : [];
const buttons = samples ? [...samples.querySelectorAll(".tools button[data-label]")] : [];
const held = new Map(cards.map((card) => [card, new Set(card.dataset.labels.split(" "))]));

function nameOf(label) {
  return document.querySelector(`#map th[data-label="${label}"], #samples button[data-label="${label}"]`).textContent.trim();
}

function showChosen() {
  for (const button of buttons) button.setAttribute("aria-pressed", chosen.has(button.dataset.label));
  for (const card of cards) card.hidden = ![...chosen].every((label) => held.get(card).has(label));
  for (const section of samples.querySelectorAll(".sample")) {
    section.hidden = chosen.size > 0 && !section.querySelector("figure:not([hidden])");
  }
  const left = cards.filter((card) => !card.hidden).length;
  document.getElementById("samples-clear").hidden = chosen.size === 0;
  const names = [...chosen].map(nameOf).join(" and ");
  const said = document.getElementById("samples-said");
  if (chosen.size === 0) said.textContent = "";
  else said.textContent = `${left || "None"} of the ${cards.length} images here ${left === 1 || !left ? "has" : "have"} ${names}.`;
}

if (cards.length) {
  samples.querySelector(".tools").hidden = false;
  for (const button of buttons) {
    button.addEventListener("click", () => {
      if (!chosen.delete(button.dataset.label)) chosen.add(button.dataset.label);
      showChosen();
    });
  }
  document.getElementById("samples-clear").addEventListener("click", () => {
    chosen.clear();
    showChosen();
  });
  // A link to a label's samples must lead to something that is shown.
  addEventListener("hashchange", () => {
    const target = document.querySelector(".sample:target");
    if (target?.hidden) {
      chosen.clear();
      showChosen();
      target.scrollIntoView();
    }
  });
}

// ---- the heat map: what a cell says, in one line above it; a click shows its images among the samples

const map = document.getElementById("map");
if (map) {
  const said = document.getElementById("map-said");
  const heads = [...map.tHead.rows[0].cells];
  let lit = [];
  const point = (cell) => {
    for (const head of lit) head.classList.remove("lit");
    lit = cell ? [cell.parentNode.cells[0], heads[cell.cellIndex]] : [];
    for (const head of lit) head.classList.add("lit");
    if (cell) said.textContent = cell.title;
  };
  const cellOf = (event) => event.target.closest("td");
  map.addEventListener("mouseover", (event) => point(cellOf(event)));
  map.addEventListener("mouseleave", () => point(null));
  map.classList.add("live");
  said.hidden = false;
  map.addEventListener("click", (event) => {
    const cell = cellOf(event);
    if (!cell) return;
    point(cell);
    if (!cards.length || cell.dataset.count === undefined) return;
    chosen.clear();
    chosen.add(cell.parentNode.dataset.label);
    chosen.add(heads[cell.cellIndex].dataset.label);
    showChosen();
    samples.scrollIntoView();
  });
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
