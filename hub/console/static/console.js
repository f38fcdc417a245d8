// Keys, and parts of a page that follow what happens. Every page works without this file.
"use strict";

const PAGES = { o: "/", c: "/customers", d: "/duplicates", p: "/parked", f: "/drift", r: "/runs" };
const items = () => [...document.querySelectorAll("[data-item]")];
let going = -Infinity;

function move(step) {
  const all = items();
  const at = all.indexOf(document.activeElement.closest("[data-item]"));
  const to = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step];
  if (to) { to.focus(); to.scrollIntoView({ block: "nearest" }); }
}

function press(key) {
  const item = document.activeElement.closest("[data-item]");
  const button = item && item.querySelector(`button[data-key="${key}"]`);
  if (button) button.click();
}

function open(item) {
  const link = item.matches("a") ? null : item.querySelector("a[href]");
  if (link) link.click();
}

document.addEventListener("keydown", (event) => {
  const target = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (target.matches("input, textarea, select")) {
    if (event.key === "Escape") target.blur();
    return;
  }
  const key = event.key;
  if (event.timeStamp - going < 1000 && PAGES[key]) { going = -Infinity; location.assign(PAGES[key]); return; }
  if (key === "g") { going = event.timeStamp; return; }
  if (key === "/") { event.preventDefault(); const find = document.getElementById("find"); if (find) { find.focus(); find.select(); } }
  else if (key === "?") show("keys");
  else if (key === "j" || (key === "ArrowDown" && target.matches("[data-item]"))) { event.preventDefault(); move(1); }
  else if (key === "k" || (key === "ArrowUp" && target.matches("[data-item]"))) { event.preventDefault(); move(-1); }
  else if (key === "n") { const next = document.querySelector("a[rel=next]"); if (next) next.click(); }
  else if (key === "Enter" && target.matches("[data-item]")) open(target);
  else if ("sdr".includes(key) && key.length === 1) press(key);
});

function show(id) {
  const dialog = document.getElementById(id);
  if (dialog) dialog.showModal();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-opens]");
  if (button) show(button.dataset.opens);
});

// A form that was sent is not sent twice.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((f) => delete f.dataset.sent));

// A live part is read again from this very page, and replaced where it has changed.
async function refresh() {
  const parts = [...document.querySelectorAll("[data-live]")];
  if (!parts.length) return;
  const seconds = Math.min(...parts.map((part) => Number(part.dataset.live)));
  let wait = seconds;
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "error" });
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      parts.forEach((part) => replace(part, fresh.getElementById(part.id)));
    } catch { wait = 5 * seconds; }
  }
  setTimeout(refresh, wait * 1000);
}

function replace(part, fresh) {
  if (!fresh || part.innerHTML === fresh.innerHTML || part.querySelector("form[data-sent]")) return;
  const at = items().indexOf(document.activeElement);
  if (part.contains(document.activeElement) && at < 0) return;
  part.replaceWith(fresh);
  if (at >= 0 && !document.contains(document.activeElement.closest("[data-item]"))) {
    const item = items()[at];
    if (item) item.focus({ preventScroll: true });
  }
}

const here = document.querySelector("header nav [aria-current]");
if (here) here.scrollIntoView({ inline: "nearest", block: "nearest" });
setTimeout(refresh, 1000);
