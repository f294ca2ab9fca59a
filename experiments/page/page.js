"use strict";
document.documentElement.classList.add("js");

// Figures of what is pointed at, focused or tapped. Text only ever enters as text.
const tip = document.createElement("div");
tip.id = "tip";
tip.hidden = true;
tip.setAttribute("role", "tooltip");
document.body.append(tip);

function show(mark) {
  const [name, ...figures] = mark.dataset.tip.split("\n");
  const head = document.createElement("b");
  head.textContent = name;
  tip.replaceChildren(head, figures.join("\n"));
  tip.hidden = false;
  const at = mark.getBoundingClientRect();
  const own = tip.getBoundingClientRect();
  const left = at.left + at.width / 2 - own.width / 2;
  const above = at.top - own.height - 8;
  tip.style.left = `${Math.max(8, Math.min(left, document.documentElement.clientWidth - own.width - 8))}px`;
  tip.style.top = `${above >= 8 ? above : Math.min(at.bottom + 8, window.innerHeight - own.height - 8)}px`;
}

function hide() {
  tip.hidden = true;
}

function follow(event) {
  const mark = event.target.closest?.("[data-tip]");
  if (mark) show(mark);
  else hide();
}

document.addEventListener("pointerover", follow);
document.addEventListener("focusin", follow);
document.addEventListener("focusout", hide);
document.addEventListener("scroll", hide, { capture: true, passive: true });

// One stop of the Tab key for each chart; arrows go from mark to mark.
for (const chart of document.querySelectorAll("svg.chart")) {
  chart.querySelector("[data-tip]")?.setAttribute("tabindex", "0");
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hide();
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const chart = event.target.closest?.("svg.chart");
  if (!step || !chart) return;
  const marks = [...chart.querySelectorAll("[data-tip]")];
  marks[(marks.indexOf(event.target) + step + marks.length) % marks.length].focus();
  event.preventDefault();
});

// Samples: filters, search, pages.
const PAGE = 10;
for (const browser of document.querySelectorAll(".samples")) {
  const samples = [...browser.querySelectorAll(".sample")];
  const filters = [...browser.querySelectorAll("[data-filter]")];
  const told = browser.querySelector("output");
  let first = 0;

  const passes = (sample) =>
    filters.every(({ value, dataset: { filter } }) => {
      if (!value) return true;
      if (filter === "text") return sample.textContent.toLowerCase().includes(value.toLowerCase());
      return sample.dataset[filter] === value;
    });

  const update = () => {
    const found = samples.filter(passes);
    first = Math.max(0, Math.min(first, PAGE * Math.floor((found.length - 1) / PAGE)));
    const shown = new Set(found.slice(first, first + PAGE));
    for (const sample of samples) sample.hidden = !shown.has(sample);
    told.textContent = found.length
      ? `${first + 1} to ${first + shown.size} of ${found.length.toLocaleString("en")}`
      : "nothing found";
    for (const button of browser.querySelectorAll("button")) {
      const next = first + PAGE * Number(button.dataset.turn);
      button.disabled = next < 0 || next >= found.length;
    }
  };

  browser.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  browser.addEventListener("input", () => {
    first = 0;
    update();
  });
  browser.addEventListener("click", (event) => {
    const turn = Number(event.target.dataset?.turn ?? 0);
    if (!turn) return;
    first += PAGE * turn;
    update();
  });
  update();
}
