// The picture with its boxes: drawn, moved and resized by mouse, finger and keyboard. All coordinates outside are pixels of the frame.

const SMALLEST = 3; // pixels of the frame
const CLOSEST = 24; // times the size at which the whole frame fits
const DARK = "rgb(16 20 23 / .85)", AMBER = "#ffb000";
const HIDDEN = 1, APPROVED = 2, DOUBTFUL = 4;

export function fit(w, h, W, H) {
  const scale = Math.min(W / w, H / h);
  return { x: (W - w * scale) / 2, y: (H - h * scale) / 2, scale };
}

export class Board {
  // on: {drawn(box, fresh), select(id), hint(text), fresh() -> whether the next box is a new target}
  constructor(canvas, on) {
    Object.assign(this, { canvas, on, context: canvas.getContext("2d"), size: [16, 9], bitmap: null, items: [], selected: null, edit: null, ratio: 1, zoom: 1, middle: [0.5, 0.5], pan: null, fingers: new Map() });
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("pointerdown", (e) => this.down(e));
    canvas.addEventListener("pointermove", (e) => this.move(e));
    canvas.addEventListener("pointerup", (e) => this.up(e));
    canvas.addEventListener("pointercancel", (e) => { this.fingers.delete(e.pointerId); this.pan = null; this.give_up(); });
    canvas.addEventListener("wheel", (e) => { e.preventDefault(); this.closer(2 ** (-e.deltaY * (e.deltaMode ? 16 : 1) / 250), [e.clientX, e.clientY]); }, { passive: false });
    canvas.addEventListener("contextmenu", (e) => e.preventDefault());
  }

  resize() {
    this.ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * this.ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * this.ratio));
    this.paint();
  }

  // items: [{id, name, colour, box, score, flags, key}]
  show(bitmap, size, items, selected) {
    Object.assign(this, { bitmap, size, items, selected });
    this.paint();
  }

  // Where the frame is in the canvas: `middle` (a share of the frame) is in its middle, as far as the frame then fills it.
  place() {
    const W = this.canvas.width / this.ratio, H = this.canvas.height / this.ratio, all = fit(...this.size, W, H), scale = all.scale * this.zoom;
    const one = (length, room, share) => length * scale <= room ? (room - length * scale) / 2 : Math.min(0, Math.max(room - length * scale, room / 2 - share * length * scale));
    return { x: one(this.size[0], W, this.middle[0]), y: one(this.size[1], H, this.middle[1]), scale };
  }

  // Closer by a factor; what is at a point of the page stays there.
  closer(factor, [x, y]) {
    const area = this.canvas.getBoundingClientRect(), before = this.place();
    const [px, py] = [(x - area.left - before.x) / before.scale, (y - area.top - before.y) / before.scale];
    this.zoom = Math.min(Math.max(this.zoom * factor, 1), CLOSEST);
    const scale = fit(...this.size, area.width, area.height).scale * this.zoom;
    this.middle = [(px + (area.width / 2 - (x - area.left)) / scale) / this.size[0], (py + (area.height / 2 - (y - area.top)) / scale) / this.size[1]];
    this.settle();
  }

  // The part of the frame that is shown; keeps `middle` where the frame's edge lets it be.
  settle() {
    const { x, y, scale } = this.place(), W = this.canvas.width / this.ratio, H = this.canvas.height / this.ratio;
    this.middle = [(W / 2 - x) / scale / this.size[0], (H / 2 - y) / scale / this.size[1]];
    this.canvas.dataset.zoom = this.zoom.toFixed(3);
    this.on.zoomed?.();
    this.paint();
  }

  // The whole frame, or, if that is shown, the selected box in the middle.
  look() {
    const own = this.current();
    if (this.zoom > 1 || !own) { this.zoom = 1; this.middle = [0.5, 0.5]; }
    else {
      const [x, y, w, h] = own.box;
      this.zoom = Math.min(Math.max(0.3 * Math.min(this.size[0] / w, this.size[1] / h), 1), CLOSEST);
      this.middle = [(x + w / 2) / this.size[0], (y + h / 2) / this.size[1]];
    }
    this.settle();
  }

  shift(dx, dy) {
    const { scale } = this.place();
    this.middle = [this.middle[0] - dx / scale / this.size[0], this.middle[1] - dy / scale / this.size[1]];
    this.settle();
  }

  // Two fingers: their middle moves the frame, their distance its size.
  pinch(event) {
    const before = [...this.fingers.values()];
    this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
    const after = [...this.fingers.values()], mid = ([a, b]) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2], far = ([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]);
    const [m, n] = [mid(before), mid(after)];
    this.shift(n[0] - m[0], n[1] - m[1]);
    this.closer(Math.max(far(after), 20) / Math.max(far(before), 20), n);
  }

  at(event) {
    const area = this.canvas.getBoundingClientRect(), { x, y, scale } = this.place();
    return [(event.clientX - area.left - x) / scale, (event.clientY - area.top - y) / scale];
  }

  inside([x, y]) { return [Math.min(Math.max(x, 0), this.size[0]), Math.min(Math.max(y, 0), this.size[1])]; }

  current() { return this.items.find((item) => item.id === this.selected && item.box); }

  // Which part of a box is under a point: "" nothing, "m" inside, or letters of its sides (nw, n, e, ...).
  grip(box, [px, py], reach) {
    const [x, y, w, h] = box, r = Math.min(reach, Math.max(w, h) / 3 + 2);
    if (px < x - r || px > x + w + r || py < y - r || py > y + h + r) return "";
    const across = Math.abs(px - x) <= r ? "w" : Math.abs(px - x - w) <= r ? "e" : "";
    const down = Math.abs(py - y) <= r ? "n" : Math.abs(py - y - h) <= r ? "s" : "";
    if (down || across) return down + across;
    return px > x && px < x + w && py > y && py < y + h ? "m" : "";
  }

  down(event) {
    if (!this.bitmap) return;
    if (event.pointerType === "touch") this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.fingers.size > 1) { this.give_up(); return; }
    if (event.button === 1 || event.button === 2) {
      event.preventDefault();
      this.canvas.setPointerCapture(event.pointerId);
      this.pan = [event.pointerId, event.clientX, event.clientY];
      return;
    }
    if (event.button !== 0) return;
    this.canvas.focus({ preventScroll: true });
    const point = this.at(event), reach = (event.pointerType === "touch" ? 22 : 8) / this.place().scale;
    const own = this.current(), fresh = this.on.fresh();
    let part = own && !fresh ? this.grip(own.box, point, reach) : "";
    if (!part && !fresh) {
      const other = this.items.filter((item) => item.box && this.grip(item.box, point, 0) === "m").sort((a, b) => a.box[2] * a.box[3] - b.box[2] * b.box[3])[0];
      if (other && other.id !== this.selected) { this.on.select(other.id); return; }
    }
    this.canvas.setPointerCapture(event.pointerId);
    const start = this.inside(point);
    this.edit = { pointer: event.pointerId, part: part || "new", from: start, began: [event.clientX, event.clientY], box: part ? [...own.box] : [...start, 0, 0], first: part ? [...own.box] : null, moved: false };
    this.paint();
  }

  move(event) {
    if (this.fingers.size === 2 && this.fingers.has(event.pointerId)) { this.pinch(event); return; }
    if (this.pan?.[0] === event.pointerId) {
      this.shift(event.clientX - this.pan[1], event.clientY - this.pan[2]);
      this.pan = [event.pointerId, event.clientX, event.clientY];
      return;
    }
    const edit = this.edit, point = this.at(event);
    if (!edit || edit.pointer !== event.pointerId) {
      if (event.pointerType === "mouse" && !edit) {
        const own = this.current(), part = own && !this.on.fresh() ? this.grip(own.box, point, 8 / this.place().scale) : "";
        this.canvas.style.cursor = { m: "move", n: "ns-resize", s: "ns-resize", e: "ew-resize", w: "ew-resize", nw: "nwse-resize", se: "nwse-resize", ne: "nesw-resize", sw: "nesw-resize" }[part] || "crosshair";
      }
      return;
    }
    edit.moved ||= Math.hypot(event.clientX - edit.began[0], event.clientY - edit.began[1]) > 3;
    const [px, py] = this.inside(point);
    if (edit.part === "new") {
      edit.box = [Math.min(edit.from[0], px), Math.min(edit.from[1], py), Math.abs(px - edit.from[0]), Math.abs(py - edit.from[1])];
    } else {
      const dx = px - edit.from[0], dy = py - edit.from[1];
      edit.box = this.changed(edit.first, edit.part, dx, dy);
    }
    this.paint();
  }

  changed([x, y, w, h], part, dx, dy) {
    if (part === "m") return [x + dx, y + dy, w, h];
    if (part.includes("w")) { const d = Math.min(dx, w - SMALLEST); x += d; w -= d; }
    if (part.includes("e")) w = Math.max(w + dx, SMALLEST);
    if (part.includes("n")) { const d = Math.min(dy, h - SMALLEST); y += d; h -= d; }
    if (part.includes("s")) h = Math.max(h + dy, SMALLEST);
    return [x, y, w, h];
  }

  up(event) {
    this.fingers.delete(event.pointerId);
    if (this.pan?.[0] === event.pointerId) { this.pan = null; return; }
    const edit = this.edit;
    if (!edit || edit.pointer !== event.pointerId) return;
    this.edit = null;
    this.paint();
    if (!edit.moved) return;
    if (edit.part === "new" && Math.min(edit.box[2], edit.box[3]) < SMALLEST) { this.on.hint("Drag from one corner of the target to the opposite one."); return; }
    this.on.drawn(edit.box, edit.part === "new");
  }

  // By keyboard: Enter takes hold, arrows move or size, Enter accepts, Escape gives up. Returns whether the key was used.
  key(event) {
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const edit = this.edit;
    if (event.key === "Enter" && !edit && this.bitmap) {
      const own = this.on.fresh() ? null : this.current(), [w, h] = this.size;
      this.edit = { part: "keys", pointer: null, fresh: !own, box: own ? [...own.box] : [w * 0.4, h * 0.4, w * 0.2, h * 0.2] };
      this.on.hint("Arrows move, Shift + arrows change the size, Enter accepts, Esc gives up");
    } else if (edit?.part !== "keys") return event.key === "Escape" && this.edit ? (this.give_up(), true) : false;
    else if (event.key === "Enter") { this.edit = null; this.on.hint(""); this.on.drawn(edit.box, edit.fresh); }
    else if (event.key === "Escape") { this.give_up(); }
    else if (arrows) {
      const step = Math.max(1, Math.round(Math.max(...this.size) / (event.altKey ? 1000 : 160)));
      edit.box = event.shiftKey ? this.changed(edit.box, "se", arrows[0] * step, arrows[1] * step) : this.changed(edit.box, "m", arrows[0] * step, arrows[1] * step);
    } else return false;
    this.paint();
    return true;
  }

  give_up() { this.edit = null; this.on.hint(""); this.paint(); }

  paint() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.paintNow(); });
  }

  paintNow() {
    const c = this.context, W = this.canvas.width / this.ratio, H = this.canvas.height / this.ratio;
    c.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    c.clearRect(0, 0, W, H);
    if (!this.bitmap) return;
    const p = this.place();
    c.imageSmoothingQuality = "high";
    c.drawImage(this.bitmap, p.x, p.y, this.size[0] * p.scale, this.size[1] * p.scale);
    for (const item of this.items) if (item.box && !(this.edit && item.id === this.selected && this.edit.part !== "new")) this.item(item, p);
    if (this.edit) this.drawing(p);
  }

  toView(b, p) { return [p.x + b[0] * p.scale, p.y + b[1] * p.scale, b[2] * p.scale, b[3] * p.scale]; }

  item(item, p) {
    const c = this.context, [x, y, w, h] = this.toView(item.box, p), chosen = item.id === this.selected;
    const doubt = (item.flags & DOUBTFUL) !== 0;
    c.lineWidth = chosen ? 5 : 4;
    c.strokeStyle = DARK;
    c.strokeRect(x, y, w, h);
    c.lineWidth = chosen ? 2.75 : 2;
    c.strokeStyle = doubt ? AMBER : item.colour;
    c.setLineDash(doubt ? [8, 6] : item.flags & HIDDEN ? [3, 4] : []);
    c.strokeRect(x, y, w, h);
    c.setLineDash([]);
    const mark = item.key ? "\u25c6 " : item.flags & APPROVED ? "\u2713 " : "";
    const state = item.flags & HIDDEN ? " hidden" : item.key || item.flags & APPROVED ? "" : ` ${item.score.toFixed(2)}${doubt ? " ?" : ""}`;
    this.badge(`${mark}${item.name}${state}`, x - 1, y - 22 > p.y ? y - 22 : y + h + 2, doubt ? AMBER : item.colour);
    if (chosen) for (const [gx, gy] of [[0, 0], [0.5, 0], [1, 0], [0, 0.5], [1, 0.5], [0, 1], [0.5, 1], [1, 1]]) {
      c.fillStyle = "#fff"; c.strokeStyle = DARK; c.lineWidth = 1;
      c.beginPath(); c.rect(x + gx * w - 3.5, y + gy * h - 3.5, 7, 7); c.fill(); c.stroke();
    }
  }

  drawing(p) {
    const c = this.context, box = this.toView(this.edit.box, p);
    c.fillStyle = "rgb(8 10 12 / .35)";
    c.beginPath();
    c.rect(p.x, p.y, this.size[0] * p.scale, this.size[1] * p.scale);
    c.rect(...box);
    c.fill("evenodd");
    c.strokeStyle = "#fff"; c.lineWidth = 2; c.setLineDash([6, 4]);
    c.strokeRect(...box);
    c.setLineDash([]);
  }

  badge(text, x, y, colour) {
    const c = this.context;
    c.font = "600 13px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
    const width = c.measureText(text).width + 12, left = Math.max(0, Math.min(x, this.canvas.width / this.ratio - width));
    c.fillStyle = colour;
    c.beginPath(); c.roundRect(left, y, width, 20, 4); c.fill();
    const [r, g, b] = [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16));
    c.fillStyle = 0.299 * r + 0.587 * g + 0.114 * b > 130 ? "#000" : "#fff";
    c.textBaseline = "middle";
    c.fillText(text, left + 6, y + 10.5);
  }
}
