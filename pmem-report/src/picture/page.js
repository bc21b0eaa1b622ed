
"use strict";
const svg = document.querySelector("svg"), told = document.getElementById("told"), found = document.getElementById("found");
const search = document.getElementById("search"), width = svg.viewBox.baseVal.width, height = svg.viewBox.baseVal.height;
// A title's tip comes late and goes soon: the text is kept, and told at once.
const pieces = [];
for (const group of svg.querySelectorAll(".piece, .ribbon")) {
  const title = group.querySelector("title");
  if (!title) continue;
  const text = title.textContent, range = /(0x[0-9a-f]+)\.\.(0x[0-9a-f]+|2\^64)/.exec(text);
  title.remove();
  group.addEventListener("pointerenter", () => { told.textContent = text; });
  group.addEventListener("pointerleave", () => { told.textContent = ""; });
  if (group.classList.contains("piece")) pieces.push({ group, text: text.toLowerCase(), start: range && BigInt(range[1]), end: range && (range[2] === "2^64" ? 1n << 64n : BigInt(range[2])) });
}
function show(asked) {
  const wanted = asked.trim().toLowerCase(), isAddress = /^0x[0-9a-f]{1,16}$/.test(wanted);
  let hits = 0, first = null;
  for (const piece of pieces) {
    const hit = wanted !== "" && (isAddress ? piece.start !== null && piece.start <= BigInt(wanted) && BigInt(wanted) < piece.end : piece.text.includes(wanted));
    piece.group.classList.toggle("hit", hit);
    if (hit) { hits += 1; first = first || piece.group; }
  }
  svg.classList.toggle("searching", wanted !== "");
  found.textContent = wanted === "" ? "" : hits === 0 ? "nothing" : hits === 1 ? "1 place" : hits + " places";
  if (first) first.scrollIntoView({ block: "center", inline: "nearest" });
}
search.addEventListener("input", () => { show(search.value); history.replaceState(null, "", search.value ? "#" + encodeURIComponent(search.value) : "#"); });
let zoom = 1;
function scale(to) { zoom = Math.min(8, Math.max(.2, to)); svg.setAttribute("width", width * zoom); svg.setAttribute("height", height * zoom); }
document.getElementById("in").addEventListener("click", () => scale(zoom * 1.25));
document.getElementById("out").addEventListener("click", () => scale(zoom / 1.25));
svg.addEventListener("wheel", event => { if (event.ctrlKey) { event.preventDefault(); scale(zoom * (event.deltaY < 0 ? 1.1 : 1 / 1.1)); } }, { passive: false });
function fromAddress() { search.value = decodeURIComponent(location.hash.slice(1)); show(search.value); }
addEventListener("hashchange", fromAddress);
fromAddress();
