
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

// ---- a click on a cell of the heat map shows its images among the samples

if (map) {
  map.classList.add("live");
  map.addEventListener("click", (event) => {
    const cell = cellOf(event);
    if (!cell) return;
    point(cell);
    if (!cards.length || cell.dataset.count === undefined) return;
    chosen.clear();
    chosen.add(cell.parentNode.dataset.label);
    chosen.add(map.tHead.rows[0].cells[cell.cellIndex].dataset.label);
    showChosen();
    samples.scrollIntoView();
  });
}
