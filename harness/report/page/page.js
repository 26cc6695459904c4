"use strict";
// Sorting: numbers by value, words by letter, what was not measured last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = row => {
      const cell = row.cells[column];
      return head.classList.contains("number") || cell.dataset.value !== undefined
        ? (cell.dataset.value === undefined ? NaN : Number(cell.dataset.value)) : cell.textContent;
    };
    const rows = [...table.tBodies[0].rows].map(row => [key(row), row]);
    rows.sort(([a], [b]) => {
      const missing = Number.isNaN(a) - Number.isNaN(b);
      if (missing || Number.isNaN(a)) return missing;
      const order = typeof a === "number" ? a - b : a.localeCompare(b);
      return down ? -order : order;
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }));
}

// Switching variants off, in tables and plots alike.
for (const box of document.querySelectorAll("[data-switch]")) {
  box.addEventListener("change", () => {
    for (const part of document.querySelectorAll("[data-variant]")) {
      if (part.dataset.variant === box.dataset.switch) part.toggleAttribute("hidden", !box.checked);
    }
  });
}

// Values of the mark nearest to the pointer, or walked to with the arrow keys.
const tip = document.getElementById("tip");
let near = null;
let pointed = false; // what the keyboard shows stays when the page scrolls below a resting pointer
const leave = () => {
  if (near) near.classList.remove("near");
  near = null;
  tip.hidden = true;
};
const show = mark => {
  if (mark === near) return;
  leave();
  near = mark;
  mark.classList.add("near");
  tip.textContent = mark.dataset.tip;
  tip.hidden = false;
  const box = mark.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(box.right + 10, innerWidth - tip.offsetWidth - 4)) + "px";
  tip.style.top = Math.max(4, box.top - tip.offsetHeight - 6) + "px";
};
const enliven = chart => {
  for (const title of chart.querySelectorAll("title")) { // or the browser would show it too
    title.parentNode.dataset.tip = title.textContent;
    title.remove();
  }
  const marks = () => [...chart.querySelectorAll("[data-tip]")].filter(mark => !mark.closest("[hidden]"));
  chart.addEventListener("pointermove", event => {
    if (!event.movementX && !event.movementY) return;
    let best = null, least = 40 * 40;
    for (const mark of marks()) {
      const box = mark.getBoundingClientRect();
      const dx = Math.max(box.left - event.clientX, 0, event.clientX - box.right);
      const dy = Math.max(box.top - event.clientY, 0, event.clientY - box.bottom);
      if (dx * dx + dy * dy < least) [best, least] = [mark, dx * dx + dy * dy];
    }
    if (best) show(best); else if (pointed) leave();
    pointed = best !== null;
  });
  chart.addEventListener("pointerleave", () => {
    if (pointed) leave();
    pointed = false;
  });
  chart.parentNode.addEventListener("blur", leave);
  chart.parentNode.addEventListener("keydown", event => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") leave();
    if (!step) return;
    event.preventDefault();
    pointed = false;
    const list = marks();
    if (!list.length) return;
    const at = list.includes(near) ? list.indexOf(near) + step : Math.min(step, 0);
    show(list[(at + list.length) % list.length]);
  });
};

// Plots are packed: SVG deflated, in base64.
const drawn = Promise.all([...document.querySelectorAll("[data-plot]")].map(async place => {
  const packed = new Blob([Uint8Array.from(atob(place.dataset.plot), letter => letter.charCodeAt(0))]);
  place.innerHTML = await new Response(packed.stream().pipeThrough(new DecompressionStream("deflate-raw"))).text();
  place.removeAttribute("data-plot");
  enliven(place.querySelector("svg"));
}));

// A link to something folded opens it.
const open = () => {
  const target = document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") target.open = true;
};
addEventListener("hashchange", open);
open();
