// The page: what is looked at, what the server knows, and what the person does.

import { Board } from "./board.js";
import { Timeline } from "./timeline.js";

const $ = (id) => document.getElementById(id);
const BLOCK = 400, HELD = 48, AHEAD = 6;
let state = null, clip = 0, frame = 0, selected = null, fresh = false, playing = null;
const pictures = new Map(), asked = new Map(), blocks = new Map();
let rows = {}, shown = null, hintTimer = 0;
const timers = {};

// -- talking to the server

async function ask(path) {
  const answer = await fetch(path);
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error || "The server did not answer.");
  return content;
}

let queue = Promise.resolve();
function command(what) {
  const result = queue.then(async () => {
    try {
      const answer = await fetch("api/do", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(what) });
      const content = await answer.json();
      if (content.clips) take(content);
      if (!answer.ok) { notice(content.error, true); return null; }
      return content.said;
    } catch {
      notice("The tool does not answer; what was drawn last is not saved. Start it again: all before is kept.", true);
      link("broken", "Not connected");
      return null;
    }
  });
  queue = result;
  return result;
}

async function watch() {
  let since = "", tick = "";
  for (;;) {
    try {
      const content = await ask(since === "" ? "api/state" : `api/state?since=${since}&tick=${tick}`);
      since = content.revision; tick = content.tick;
      take(content);
    } catch {
      link("broken", "Not connected");
      await new Promise((r) => setTimeout(r, 1000));
      since = "";
    }
  }
}

function take(content) {
  if (state && content.revision < state.revision) return;
  const changed = !state || content.revision !== state.revision;
  state = content;
  if (!here().targets.some((t) => t.id === selected)) selected = here().targets[0]?.id ?? null;
  panel();
  if (changed) { for (const block of blocks.values()) block.stale = true; overview(); }
  show();
}

const here = () => state.clips[clip];
const target = (id = selected) => here().targets.find((t) => t.id === id);
const keyAt = (t, k) => t?.keys.find((key) => key[0] === k);

// -- pictures and boxes on demand

function width() {
  const want = $("view").clientWidth * Math.min(window.devicePixelRatio || 1, 2) * board.zoom;
  return Math.min(here().width, [320, 640, 960, 1280, 1920, 2560, 3840].find((w) => w >= want) || 3840);
}

function picture(k) {
  const size = width(), name = `${clip}/${k}/${size}`, held = Math.max(8, Math.min(HELD, Math.round(1.2e8 / size ** 2)));
  if (pictures.has(name)) { const found = pictures.get(name); pictures.delete(name); pictures.set(name, found); return Promise.resolve(found); }
  if (!asked.has(name)) {
    asked.set(name, fetch(`api/picture?clip=${clip}&frame=${k}&width=${size}`).then(async (answer) => {
      if (!answer.ok) throw new Error((await answer.json()).error);
      const bitmap = await createImageBitmap(await answer.blob());
      pictures.set(name, bitmap);
      while (pictures.size > held) { const [old, gone] = pictures.entries().next().value; pictures.delete(old); if (gone !== shown) gone.close(); }
      return bitmap;
    }).finally(() => asked.delete(name)));
  }
  return asked.get(name);
}

async function boxes(k) {
  const first = Math.floor(k / BLOCK) * BLOCK, name = `${clip}/${first}`;
  let block = blocks.get(name);
  if (!block) blocks.set(name, block = { stale: true, content: null, coming: null });
  if (block.stale && !block.coming) {
    block.coming = ask(`api/boxes?clip=${clip}&first=${first}&last=${first + BLOCK - 1}`).then((content) => {
      block.content = content; block.stale = content.revision < state.revision; block.coming = null; show();
    }).catch(() => { block.coming = null; });
    if (!block.content) await block.coming;
    while (blocks.size > 20) blocks.delete(blocks.keys().next().value);
  }
  return block.content;
}

async function overview() {
  if (overview.busy) { overview.again = true; return; }
  overview.busy = true;
  try {
    const now = clip;
    const content = await ask(`api/timeline?clip=${clip}&first=0&last=${here().frames - 1}&bins=${timeline.bins}`);
    if (now === clip) { rows = content.targets; line(); }
  } catch { /* the watch says so */ } finally {
    overview.busy = false;
    if (overview.again) { overview.again = false; setTimeout(overview, 150); }
  }
}

// -- showing

const board = new Board($("view"), {
  fresh: () => fresh || selected === null,
  select: (id) => { selected = id; panel(); show(); },
  zoomed: () => { clearTimeout(timers.zoomed); timers.zoomed = setTimeout(show, 120); },
  hint,
  drawn,
});
const timeline = new Timeline($("timeline"), { seek: (k) => go(k) });

async function show() {
  if (!state) return;
  const wanted = `${clip}/${frame}`;
  let bitmap, content;
  try { [bitmap, content] = await Promise.all([picture(frame), boxes(frame)]); }
  catch (error) { hint(error.message); return; }
  if (wanted !== `${clip}/${frame}`) return;
  shown = bitmap;
  const items = here().targets.map((t) => {
    const row = content?.targets[t.id]?.[frame - content.first], key = keyAt(t, frame);
    const box = key ? key[1] : row ? row.slice(0, 4) : null;
    return { id: t.id, name: t.name, colour: t.colour, box, score: key ? 1 : row?.[4] ?? 0, flags: key ? (row?.[5] ?? 0) & 2 : row?.[5] ?? 0, key: !!key };
  });
  board.show(bitmap, [here().width, here().height], items, selected);
  $("view").dataset.frame = frame;
  $("view").dataset.boxes = JSON.stringify(items.map(({ id, box, key, flags }) => ({ id, box, key, flags })));
}

function line() {
  const content = here().targets.map((t) => ({ id: t.id, colour: t.colour, keys: t.keys, score: rows[t.id]?.score || [], kind: rows[t.id]?.kind || "" }));
  timeline.show(here().frames, frame, content, selected);
}

function go(k, look = true) {
  const last = here().frames - 1;
  frame = Math.min(Math.max(Math.round(k), 0), last);
  if (document.activeElement !== $("frame")) $("frame").value = frame;
  $("time").textContent = here().rate ? clock(frame / here().rate) : "";
  line();
  show();
  if (look && !playing) { clearTimeout(go.timer); go.timer = setTimeout(() => state.progress.busy && command({ do: "look", clip, frame }), 400); }
}

const clock = (s) => `${Math.floor(s / 60)}:${(s % 60).toFixed(2).padStart(5, "0")}`;

function play(on = !playing) {
  $("play").setAttribute("aria-pressed", on);
  $("play").setAttribute("aria-label", on ? "Pause" : "Play");
  $("play-shape").setAttribute("d", on ? "M4 3h3v10H4zM9 3h3v10H9z" : "M5 3l8 5-8 5z");
  if (!on) { playing = null; return; }
  if (frame >= here().frames - 1) go(0);
  playing = { from: frame, began: performance.now() };
  run(playing);
}

async function run(mine) {
  while (playing === mine) {
    const rate = (here().rate || 25) * Number($("speed").value);
    const due = mine.from + Math.floor((performance.now() - mine.began) / 1000 * rate);
    const next = Math.min(due, here().frames - 1), step = Math.max(1, Math.round(rate / 25));
    for (let k = 1; k <= AHEAD; k++) { const ahead = next + k * step; if (ahead < here().frames) picture(ahead).catch(() => {}); }
    if (next > frame) {
      const before = performance.now();
      try { await picture(next); } catch { /* shown as a hint */ }
      if (playing !== mine) return;
      go(next, false);
      const late = performance.now() - before;
      if (late > 120) { mine.from = next; mine.began = performance.now(); }  // a slow disk: go on from here, don't leap
    }
    if (frame >= here().frames - 1) { play(false); return; }
    await new Promise((r) => requestAnimationFrame(r));
  }
}

function link(kind, text) { $("work").dataset.state = kind; $("work-text").textContent = text; }

function panel() {
  const names = state.clips.map((c) => c.name).join("\n");
  if ($("clip").dataset.names !== names) {
    $("clip").dataset.names = names;
    $("clip").replaceChildren(...state.clips.map((c, k) => Object.assign(document.createElement("option"), { value: k, textContent: c.name })));
    $("clip").value = clip;
    $("clip").hidden = state.clips.length < 2;
  }
  const c = here(), p = state.progress;
  $("source").textContent = `${state.clips.length < 2 ? c.name + "  " : ""}${c.width} \u00d7 ${c.height}, ${c.frames} frames`;
  $("frame").max = c.frames - 1;
  if (p.error) link("broken", "A stretch could not be tracked");
  else if (p.target >= 0) link("waiting", `Tracking ${target(p.target)?.name ?? ""} ${Math.floor(100 * p.done / Math.max(p.total, 1))} %`);
  else if (p.busy) link("waiting", "Starting to track");
  else link("live", c.targets.length ? "All tracked and saved" : "Ready");
  if (p.error && p.error !== panel.error) notice(p.error, true);
  panel.error = p.error;
  $("none").hidden = c.targets.length > 0;
  $("targets").replaceChildren(...c.targets.map((t, k) => entry(t, k, c)));
  const doubts = c.targets.reduce((sum, t) => sum + t.doubtful, 0);
  $("doubt-count").textContent = doubts || "";
  $("doubt").disabled = !doubts;
  $("undo").disabled = !state.undo;
  $("undo-what").textContent = state.undo ? `Last: ${state.undo}` : "Nothing to undo.";
  const t = target();
  $("selected").hidden = !t;
  if (t) {
    for (const [id, value] of [["name", t.name], ["class", t.class], ["colour", t.colour]]) if (document.activeElement !== $(id)) $(id).value = value;
    $("unkey").disabled = !keyAt(t, frame);
  }
  const classes = [...new Set(state.clips.flatMap((one) => one.targets.map((x) => x.class)))];
  $("classes").replaceChildren(...classes.map((value) => Object.assign(document.createElement("option"), { value })));
  $("new").setAttribute("aria-pressed", fresh);
  line();
}

function entry(t, k, c) {
  const item = document.createElement("li"), button = document.createElement("button");
  const make = (tag, name, text) => Object.assign(document.createElement(tag), { className: name, textContent: text });
  button.type = "button";
  button.dataset.id = t.id;
  button.setAttribute("aria-pressed", t.id === selected);
  const swatch = make("span", "swatch", "");
  swatch.style.background = t.colour;
  const name = make("span", "name", t.name);
  name.append(make("span", "kind", `  ${t.class}`));
  const facts = make("span", "facts", `${t.keys.length} drawn, ${share(t.boxes, c.frames)}, ${share(t.approved, c.frames).replace(" of frames", "")} approved`);
  if (t.doubtful) facts.append(", ", make("b", "", `${t.doubtful} doubtful`));
  button.append(swatch, name, make("span", "number", k < 9 ? k + 1 : ""), facts);
  button.addEventListener("click", () => { selected = t.id; setFresh(false); panel(); show(); });
  item.append(button);
  return item;
}

// In long clips a target may be there for a part of a percent.
function share(count, all) { return count && count < all / 100 ? `${count} frame${count === 1 ? "" : "s"}` : `${Math.round(100 * count / all)} % of frames`; }

function hint(text) {
  $("hint").textContent = text;
  $("hint").hidden = !text;
  clearTimeout(hintTimer);
  if (text && board.edit?.part !== "keys") hintTimer = setTimeout(() => { $("hint").hidden = true; }, 5000);
}

function notice(text, error = false) {
  const box = Object.assign(document.createElement("div"), { className: `notice${error ? " error" : ""}` });
  const close = Object.assign(document.createElement("button"), { type: "button", className: "remove", textContent: "\u00d7" });
  close.setAttribute("aria-label", "Close");
  close.addEventListener("click", () => box.remove());
  box.append(Object.assign(document.createElement("p"), { textContent: text }), close);
  $("notices").append(box);
  setTimeout(() => box.remove(), 12000);
}

// -- doing

async function drawn(box, isNew) {
  const now = frame, t = target();
  if (isNew && (fresh || !t)) {
    setFresh(false);
    const said = await command({ do: "new", clip, frame: now, box, class: t?.class || "object" });
    if (said) { selected = said.target; panel(); show(); $("spoken").textContent = "New target"; }
    return;
  }
  await command({ do: "key", target: t.id, frame: now, box, seen: seenKey(t, now) });
}

// The revision of the key box that this window knows in a frame, or 0: it knows none.
function seenKey(t, k) { return keyAt(t, k)?.[2] ?? 0; }

function setFresh(on) { fresh = on; $("new").setAttribute("aria-pressed", on); if (on) hint("Drag a box around the new target."); }

async function doubt(step) {
  try {
    const content = await ask(`api/doubtful?clip=${clip}&frame=${frame}&step=${step}`);
    if (content.frame === null) hint(content.left ? `No doubtful frame ${step > 0 ? "after" : "before"} this one.` : "Nothing is doubtful.");
    else go(content.frame);
  } catch (error) { hint(error.message); }
}

const actions = {
  undo: () => command({ do: "undo" }).then((said) => said && hint(said.undone ? `Undone: ${said.undone}` : "Nothing to undo.")),
  approve: () => selected !== null && command({ do: "approve", target: selected, frame }).then((said) => said && hint(`Approved: frames ${said.first} to ${said.last}`)),
  approveAll: () => selected !== null && command({ do: "approve", target: selected, frame, whole: true }),
  out: () => selected !== null && command({ do: "key", target: selected, frame, box: null, seen: seenKey(target(), frame) }),
  unkey: () => keyAt(target(), frame) && command({ do: "unkey", target: selected, frame, seen: seenKey(target(), frame) }),
  drop: () => selected !== null && command({ do: "drop", target: selected }),
  edit: () => selected !== null && command({ do: "edit", target: selected, name: $("name").value, class: $("class").value, colour: $("colour").value }),
};

function jumpKey(step) {
  const keys = (target()?.keys ?? []).map((key) => key[0]).filter((k) => (step > 0 ? k > frame : k < frame));
  if (keys.length) go(step > 0 ? Math.min(...keys) : Math.max(...keys));
}

function speed(step) {
  const list = $("speed"), next = Math.min(Math.max(list.selectedIndex + step, 0), list.options.length - 1);
  list.selectedIndex = next;
  if (playing) playing = Object.assign(playing, { from: frame, began: performance.now() });
  hint(`Speed ${list.options[next].textContent}`);
}

document.addEventListener("keydown", (event) => {
  if (!state || event.target.closest("input, select, textarea")) return;
  if (event.target.closest("button, summary") && [" ", "Enter"].includes(event.key)) return;
  if (event.ctrlKey || event.metaKey) {
    if (event.key === "z") { event.preventDefault(); actions.undo(); }
    return;
  }
  if (event.target.id !== "timeline" && board.key(event)) { event.preventDefault(); return; }
  const leap = event.shiftKey ? 10 : 1;
  const keys = {
    " ": () => play(), ArrowLeft: () => go(frame - leap), ArrowRight: () => go(frame + leap), Home: () => go(0), End: () => go(here().frames - 1),
    PageUp: () => go(frame - 100), PageDown: () => go(frame + 100),
    n: () => doubt(1), p: () => doubt(-1), "[": () => jumpKey(-1), "]": () => jumpKey(1), "+": () => speed(1), "=": () => speed(1), "-": () => speed(-1),
    t: () => setFresh(!fresh), a: actions.approve, o: actions.out, z: actions.undo, f: () => board.look(), Delete: actions.unkey, Backspace: actions.unkey,
    Escape: () => setFresh(false),
  };
  if (/^[1-9]$/.test(event.key)) { const t = here().targets[Number(event.key) - 1]; if (t) { selected = t.id; panel(); show(); } event.preventDefault(); return; }
  if (keys[event.key]) {
    event.preventDefault();
    if (event.key !== " " && playing && event.key.startsWith("Arrow")) play(false);
    keys[event.key]();
  }
});

for (const [id, act] of [["undo", actions.undo], ["approve", actions.approve], ["approve-all", actions.approveAll], ["out", actions.out], ["unkey", actions.unkey], ["drop", actions.drop],
  ["back", () => go(frame - 1)], ["on", () => go(frame + 1)], ["play", () => play()], ["doubt", () => doubt(1)], ["new", () => setFresh(!fresh)]]) $(id).addEventListener("click", act);
for (const id of ["name", "class", "colour"]) $(id).addEventListener("change", actions.edit);
$("frame").addEventListener("change", () => { if ($("frame").value !== "") go(Number($("frame").value)); });
$("speed").addEventListener("change", () => speed(0));
$("clip").addEventListener("change", () => { clip = Number($("clip").value); selected = null; rows = {}; play(false); take(state); go(0); overview(); });
window.addEventListener("resize", () => overview());

watch();
const opened = setInterval(() => { if (state) { clearInterval(opened); go(0); overview(); } }, 50);
