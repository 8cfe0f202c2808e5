"use strict";
const entries = /*ENTRIES*/[];
const field = document.getElementById("search");
const list = document.getElementById("results");
let chosen = -1;

function show() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const ranks = /^[\d\s(),→>-]+$/.test(field.value) ? field.value.replace(/\D/g, "") : null;
  list.replaceChildren();
  chosen = -1;
  list.hidden = words.length === 0;
  if (list.hidden) return;
  const found = entries.filter(([text, title]) => {
    if (ranks) return title.startsWith("Tensors") ? false : title.replace(/\D/g, "").startsWith(ranks);
    const all = (text + " " + title).toLowerCase().split(/[\s():,]+/);
    return words.every((w) => all.some((t) => t.startsWith(w)));
  });
  for (const [, title, link] of found.slice(0, 12)) {
    const a = document.createElement("a");
    a.href = link;
    a.textContent = title;
    list.appendChild(document.createElement("li")).appendChild(a);
  }
  if (!found.length) {
    const li = list.appendChild(document.createElement("li"));
    li.className = "none";
    li.textContent = "nothing found; try ranks such as 2 1 2, or elastic";
  }
}

field.addEventListener("input", show);
field.addEventListener("keydown", (event) => {
  const links = [...list.querySelectorAll("a")];
  if (event.key === "Escape") { field.value = ""; show(); }
  if (!links.length) return;
  if (event.key === "ArrowDown") chosen = Math.min(chosen + 1, links.length - 1);
  else if (event.key === "ArrowUp") chosen = Math.max(chosen - 1, 0);
  else if (event.key === "Enter") { location.href = links[Math.max(chosen, 0)].href; return; }
  else return;
  event.preventDefault();
  links.forEach((a, n) => a.classList.toggle("on", n === chosen));
});
document.addEventListener("click", (event) => { if (!event.target.closest(".search")) list.hidden = true; });
