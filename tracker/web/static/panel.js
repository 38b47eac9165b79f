// Everything beside the picture: targets with their scores, the response, the figures, recordings, notices.

const $ = (id) => document.getElementById(id);
const STATES = { tracking: "Tracking", uncertain: "Uncertain", lost: "Lost" };
const TRACE = 120;

export class Panel {
  constructor(on) { // on: {drop(id)}
    this.on = on;
    this.rows = new Map();
    this.colours = ["#2ad660"];
    this.palette = null;
    this.offscreen = document.createElement("canvas");
  }

  hello(message) {
    this.colours = message.colours;
    this.palette = message.palette.map((hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16)));
    const { name, width, height, looped } = message.source;
    $("source").textContent = `${name}, ${width} × ${height}${looped ? ", played in a loop" : ""}`;
    $("source").title = $("source").textContent;
    $("tracker").textContent = `${message.tracker}, version ${message.version}`;
    const ramp = $("ramp").getContext("2d");
    message.palette.forEach((colour, k) => { ramp.fillStyle = colour; ramp.fillRect(k, 0, 1, 1); });
  }

  frame(header) {
    $("fps").value = header.fps.toFixed(header.fps < 10 ? 1 : 0);
    $("delay").value = header.delay_ms || "–";
    $("cost").value = header.tracker_ms ? header.tracker_ms.toFixed(0) : "–";
    $("dropped").value = header.dropped;
    $("damaged").value = header.damaged;
    $("skipped").value = header.skipped;
    $("index").value = header.index;
    this.targets(header.tracks);
  }

  targets(tracks) {
    const there = new Set(tracks.map((t) => t.id));
    for (const [id, row] of this.rows) if (!there.has(id)) { row.item.remove(); this.rows.delete(id); }
    for (const track of tracks) {
      const row = this.rows.get(track.id) ?? this.row(track.id);
      if (row.item.dataset.state !== track.state) {
        if (row.item.dataset.state) this.speak(`Target ${track.id}: ${STATES[track.state]}`);
        row.item.dataset.state = row.state.dataset.state = track.state;
        row.stateText.textContent = STATES[track.state];
      }
      row.item.dataset.box = track.box ? track.box.join(",") : "";
      row.meter.setAttribute("aria-valuenow", track.score.toFixed(2));
      row.fill.style.transform = `scaleX(${Math.max(0, Math.min(1, track.score))})`;
      row.number.textContent = track.score.toFixed(2);
      row.scores.push(track.score);
      if (row.scores.length > TRACE) row.scores.shift();
      this.trace(row);
    }
    $("no-targets").hidden = tracks.length > 0;
    $("clear").disabled = tracks.length === 0;
    if (!tracks.length) { $("maps").hidden = true; $("no-response").hidden = false; }
  }

  row(id) {
    const make = (tag, className, parent) => { const e = document.createElement(tag); e.className = className; parent.append(e); return e; };
    const item = document.createElement("li");
    item.dataset.id = id;
    const top = make("div", "row", item);
    make("span", "swatch", top).style.background = this.colours[id % this.colours.length];
    make("span", "name", top).textContent = `Target #${id}`;
    const state = make("span", "state", top);
    make("span", "dot", state).setAttribute("aria-hidden", "true");
    const stateText = make("span", "", state);
    const remove = make("button", "remove", top);
    remove.type = "button";
    remove.textContent = "×";
    remove.setAttribute("aria-label", `Remove target ${id}`);
    remove.addEventListener("click", () => this.on.drop(id));
    const score = make("div", "score", item);
    const meter = make("div", "meter", score);
    const fill = make("i", "", meter);
    for (const [key, value] of Object.entries({ role: "meter", "aria-label": `Score of target ${id}`, "aria-valuemin": 0, "aria-valuemax": 1 })) meter.setAttribute(key, value);
    const number = make("span", "", score);
    const trace = make("canvas", "trace", item);
    trace.setAttribute("aria-hidden", "true");
    trace.title = `Score of the last ${TRACE} frames`;
    const row = { item, state, stateText, meter, fill, number, trace, scores: [] };
    this.rows.set(id, row);
    $("targets").append(item);
    return row;
  }

  trace({ trace, scores }) {
    const ratio = window.devicePixelRatio || 1, w = trace.clientWidth, h = trace.clientHeight;
    if (trace.width !== Math.round(w * ratio)) { trace.width = Math.round(w * ratio); trace.height = Math.round(h * ratio); }
    const c = trace.getContext("2d");
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, w, h);
    const style = getComputedStyle(trace);
    c.strokeStyle = style.getPropertyValue("--line");
    c.beginPath(); c.moveTo(0, h - 0.5); c.lineTo(w, h - 0.5); c.stroke();
    c.strokeStyle = style.getPropertyValue("--soft");
    c.lineWidth = 1.5;
    c.lineJoin = "round";
    c.beginPath();
    scores.forEach((score, k) => c.lineTo(w - ((scores.length - 1 - k) * w) / (TRACE - 1), 2 + (h - 4) * (1 - score)));
    c.stroke();
  }

  async views(header, parts) {
    if (!header.views || !parts.search || !this.palette) return;
    const [search, template] = await Promise.all([parts.search, parts.template].map((data) => createImageBitmap(new Blob([data], { type: "image/jpeg" }))));
    const { rows, columns, id } = header.views;
    const map = new ImageData(columns, rows);
    parts.response.forEach((value, k) => {
      map.data.set(this.palette[value], 4 * k);
      map.data[4 * k + 3] = 70 + 0.55 * value; // the picture stays readable where there is no likeness
    });
    this.offscreen.width = columns;
    this.offscreen.height = rows;
    this.offscreen.getContext("2d").putImageData(map, 0, 0);
    const heat = $("heat"), c = heat.getContext("2d");
    c.imageSmoothingQuality = "high";
    c.drawImage(search, 0, 0, heat.width, heat.height);
    c.drawImage(this.offscreen, 0, 0, heat.width, heat.height);
    const small = $("template");
    small.getContext("2d").drawImage(template, 0, 0, small.width, small.height);
    search.close();
    template.close();
    $("seen-id").textContent = header.tracks.length > 1 ? `of #${id}` : "";
    $("maps").hidden = false;
    $("no-response").hidden = true;
  }

  recordings(names) {
    $("recordings-card").hidden = names.length === 0;
    $("recordings").replaceChildren(...names.map((name) => {
      const item = document.createElement("li"), anchor = document.createElement("a");
      anchor.href = `recordings/${encodeURIComponent(name)}`;
      anchor.textContent = name;
      anchor.download = name;
      item.append(anchor);
      return item;
    }));
  }

  speak(text) { $("spoken").textContent = text; }

  notice(text, level = "info") {
    const same = [...$("notices").children].find((n) => n.dataset.text === text);
    same?.remove();
    const box = document.createElement("div"), words = document.createElement("p"), close = document.createElement("button");
    box.className = `notice ${level}`;
    box.dataset.text = text;
    if (level === "error") box.setAttribute("role", "alert");
    words.textContent = text;
    close.type = "button";
    close.className = "remove";
    close.textContent = "×";
    close.setAttribute("aria-label", "Dismiss");
    const gone = () => box.remove();
    close.addEventListener("click", gone);
    box.append(words, close);
    $("notices").append(box);
    while ($("notices").children.length > 3) $("notices").firstChild.remove();
    setTimeout(gone, level === "error" ? 12000 : 6000);
  }
}
