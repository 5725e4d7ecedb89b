"use strict";
// What a server or a model says is only ever set as text, never as markup.

const STORED = "bgresp.key";
const MOST = 1_000_000; // characters of one answer that the page shows
const PAGE = 50;
const SECTIONS = { in_progress: "running", queued: "waiting" };
const byId = (id) => document.getElementById(id);

const rows = new Map();
let limit = PAGE;
let ahead = 0; // the server's clock less ours, in seconds
let failures = 0;
let timer = 0;
let busy = false;

// The key comes behind '#': a browser sends that part to nobody. It leaves the
// address bar at once and stays in this tab alone.
function takeKey() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given === null) return;
  sessionStorage.setItem(STORED, given);
  history.replaceState(null, "", location.pathname);
}

async function ask(path, { method = "GET", headers = {} } = {}) {
  const key = sessionStorage.getItem(STORED);
  const sent = key === null ? headers : { ...headers, authorization: `Bearer ${key}` };
  const signal = AbortSignal.timeout(10_000);
  const reply = await fetch(path, { method, headers: sent, signal, cache: "no-store" });
  if (!reply.ok) {
    const said = await reply.json().catch(() => ({}));
    const message = said?.error?.message ?? `HTTP ${reply.status}`;
    throw Object.assign(new Error(message), { status: reply.status });
  }
  return reply.json();
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${two(s % 60)}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h${two(Math.floor((s % 3600) / 60))}m`;
  return `${Math.floor(s / 86400)}d`;
}

function facts(job) {
  const now = Date.now() / 1000 + ahead;
  const told = [job.model, duration((job.ended ?? now) - job.created)];
  const tokens = job.tokens === 1 ? "token" : "tokens";
  if (job.tokens !== null) told.push(`${job.exact ? "" : "~"}${job.tokens} ${tokens}`);
  if (job.tenant) told.push(`for ${job.tenant}`);
  if (job.ended !== null) told.push(`${duration(now - job.ended)} ago`);
  return told.join(" · ");
}

function makeRow(job) {
  const item = byId("row").content.firstElementChild.cloneNode(true);
  const part = (name) => item.querySelector(name);
  const row = {
    item, job, next: 0, settled: false, shown: document.createTextNode(""),
    details: part("details"), summary: part("summary"), status: part(".status"),
    prompt: part(".prompt"), facts: part("summary .facts"), tail: part(".tail"),
    error: part(".error"), answer: part(".answer"), cut: part(".cut"), cancel: part(".cancel"),
  };
  item.dataset.id = job.id;
  set(part(".id"), job.id);
  row.cancel.setAttribute("aria-label", `Cancel ${job.id}`);
  row.cancel.addEventListener("click", () => cancel(row));
  row.details.addEventListener("toggle", () => row.details.open && refresh());
  return row;
}

function draw(row, job) {
  if (job.status !== row.job.status) row.settled = false;
  row.job = job;
  row.item.dataset.status = job.status;
  set(row.status, job.status.replace("_", " "));
  set(row.prompt, job.prompt || job.id);
  set(row.tail, job.tail);
  set(row.error, job.error ?? "");
  row.error.hidden = !job.error;
  const hide = job.ended !== null || !job.background;
  if (hide && document.activeElement === row.cancel) row.summary.focus();
  row.cancel.hidden = hide;
}

// A row is moved only where its place changed: what has the focus keeps it.
function place(list, wanted) {
  const focused = document.activeElement;
  wanted.forEach((row, n) => {
    if (list.children[n] !== row.item) list.insertBefore(row.item, list.children[n] ?? null);
  });
  if (focused !== document.activeElement && focused?.isConnected) focused.focus();
}

function drawAll(told) {
  ahead = told.now - Date.now() / 1000;
  const wanted = { running: [], waiting: [], ended: [] };
  for (const job of told.jobs) {
    const row = rows.get(job.id) ?? makeRow(job);
    rows.set(job.id, row);
    draw(row, job);
    wanted[SECTIONS[job.status] ?? "ended"].push(row);
  }
  const here = new Set(told.jobs.map((job) => job.id));
  for (const [id, row] of rows) {
    if (here.has(id)) continue;
    row.item.remove();
    rows.delete(id);
  }
  for (const [name, list] of Object.entries(wanted)) place(byId(name), list);
  const { running, waiting, ended } = told.counts;
  set(byId("counts"), `${running} running · ${waiting} waiting · ${ended} ended`);
  byId("more").hidden = Math.max(running, waiting, ended) <= limit;
  byId("none").hidden = told.jobs.length > 0;
  document.title = running ? `${running} running · bgresp` : "bgresp";
  tick();
}

function tick() {
  for (const row of rows.values()) set(row.facts, facts(row.job));
}

// A growing answer is added to; that of a job that has ended is read anew, since the
// final text is what counts.
async function pull(row) {
  if (row.settled) return;
  const final = row.job.ended !== null;
  let next = final ? 0 : row.next;
  let text = final ? "" : row.shown.data;
  let more = true;
  while (more && text.length < MOST) {
    const part = await ask(`/page/jobs/${encodeURIComponent(row.job.id)}?from=${next}`);
    text = part.from === next ? text + part.text : part.text;
    next = part.next;
    more = part.more;
  }
  const { answer } = row;
  const followed = answer.scrollTop + answer.clientHeight >= answer.scrollHeight - 8;
  if (!final && text.startsWith(row.shown.data)) {
    row.shown.appendData(text.slice(row.shown.data.length));
  } else if (text !== row.shown.data) row.shown.data = text;
  if (text && !row.shown.isConnected) answer.append(row.shown);
  if (followed && !final) answer.scrollTop = answer.scrollHeight;
  set(row.cut, more ? `The rest: bgresp get ${row.job.id}` : "");
  row.cut.hidden = !more;
  row.next = next;
  row.settled = final;
}

function unlessGone(error) {
  if (error.status !== 404) throw error;
}

async function cancel(row) {
  const { id, tenant } = row.job;
  // Not `disabled`: that would take the focus from a person at the keyboard.
  if (row.cancel.getAttribute("aria-disabled") === "true") return;
  row.cancel.setAttribute("aria-disabled", "true");
  try {
    const headers = tenant ? { "x-on-behalf-of": tenant } : {};
    await ask(`/v1/responses/${encodeURIComponent(id)}/cancel`, { method: "POST", headers });
    set(byId("trouble"), "");
    await refresh();
  } catch (error) {
    set(byId("trouble"), `Not cancelled: ${error.message}`);
  } finally {
    row.cancel.removeAttribute("aria-disabled");
  }
}

function lock(locked, why) {
  byId("locked").hidden = !locked;
  byId("jobs").hidden = locked;
  set(byId("trouble"), why);
}

async function update() {
  try {
    drawAll(await ask(`/page/jobs?limit=${limit}`));
    const open = [...rows.values()].filter((row) => row.details.open);
    for (const row of open) await pull(row).catch(unlessGone);
    if (failures > 0 || byId("jobs").hidden) lock(false, "");
    failures = 0;
  } catch (error) {
    failures += 1;
    if (error.status === 401) {
      lock(true, sessionStorage.getItem(STORED) === null ? "" : "The endpoint does not know this key.");
      return 0;
    }
    set(byId("trouble"), error.status ? error.message : "The endpoint does not answer; trying again …");
  }
  if (failures > 0) return Math.min(5000, 500 * 2 ** Math.min(failures, 4));
  return byId("running").childElementCount ? 500 : 1500;
}

async function refresh() {
  if (busy) return;
  busy = true;
  clearTimeout(timer);
  const pause = await update();
  busy = false;
  // A page that nobody looks at keeps no endpoint awake.
  if (pause && !document.hidden) timer = setTimeout(refresh, pause);
}

byId("locked").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(STORED, byId("key").value);
  byId("key").value = "";
  refresh();
});
byId("more").addEventListener("click", () => {
  limit += PAGE;
  refresh();
});
addEventListener("hashchange", () => {
  takeKey();
  refresh();
});
document.addEventListener("visibilitychange", () => document.hidden || refresh());
setInterval(tick, 1000);
set(byId("host"), location.host);
takeKey();
refresh();
