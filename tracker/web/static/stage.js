// The live picture on a canvas: fitted into whatever space there is, boxes on top, a box drawn by pointer or keyboard.

const SMALLEST = 8; // CSS pixels: a shorter drag is a click by mistake
const AMBER = "#ffb000", RED = "#e83a3a", DARK = "rgb(16 20 23 / .85)";

// Where a picture of w x h lies in a space of W x H when it is fitted into it whole: offset and scale.
export function fit(w, h, W, H) {
  const scale = Math.min(W / w, H / h);
  return { x: (W - w * scale) / 2, y: (H - h * scale) / 2, scale };
}

export class Stage {
  // on: {begin(seq), drawn(box, seq), cancel(reason), mode(text)}
  constructor(canvas, on) {
    this.canvas = canvas;
    this.on = on;
    this.context = canvas.getContext("2d");
    this.colours = ["#2ad660"];
    this.picture = null;  // shown: {bitmap, header}
    this.coming = null;   // newest, while the shown one is held still
    this.drawing = null;  // {seq, from, to} in pixels of the frame, or with keys: {seq, box}
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("pointerdown", (e) => this.down(e));
    canvas.addEventListener("pointermove", (e) => this.move(e));
    canvas.addEventListener("pointerup", (e) => this.up(e));
    canvas.addEventListener("pointercancel", () => this.cancel());
    canvas.addEventListener("keydown", (e) => this.key(e));
    canvas.addEventListener("contextmenu", (e) => e.preventDefault());
    canvas.addEventListener("blur", () => { if (this.drawing?.box) this.cancel(); });
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.ratio = ratio;
    this.paint();
  }

  show(bitmap, header) {
    if (this.drawing) {
      this.coming?.bitmap.close();
      this.coming = { bitmap, header };
      return;
    }
    this.picture?.bitmap.close();
    this.picture = { bitmap, header };
    this.canvas.dataset.index = header.index;
    this.paint();
  }

  // Pixels of the frame under a point of the page, kept inside the frame.
  toFrame(clientX, clientY) {
    const [w, h] = this.picture.header.size;
    const area = this.canvas.getBoundingClientRect();
    const { x, y, scale } = fit(w, h, area.width, area.height);
    const inside = (value, most) => Math.min(Math.max(value, 0), most);
    return [inside((clientX - area.left - x) / scale, w), inside((clientY - area.top - y) / scale, h)];
  }

  down(event) {
    if (!this.picture || event.button !== 0) return;
    if (!event.isPrimary) { this.cancel(); return; }
    this.canvas.setPointerCapture(event.pointerId);
    const at = this.toFrame(event.clientX, event.clientY);
    this.begin({ from: at, to: at, start: [event.clientX, event.clientY], pointer: event.pointerId });
  }

  begin(drawing) {
    this.drawing = { ...drawing, seq: this.picture.header.seq };
    this.on.begin(this.drawing.seq);
    this.paint();
  }

  move(event) {
    if (this.drawing?.pointer !== event.pointerId) return;
    this.drawing.to = this.toFrame(event.clientX, event.clientY);
    this.paint();
  }

  up(event) {
    const drawing = this.drawing;
    if (drawing?.pointer !== event.pointerId) return;
    drawing.to = this.toFrame(event.clientX, event.clientY);
    const far = [event.clientX - drawing.start[0], event.clientY - drawing.start[1]].map(Math.abs);
    if (Math.min(...far) < SMALLEST) this.cancel("Drag from one corner of the target to the opposite one.");
    else this.finish();
  }

  key(event) {
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const drawing = this.drawing;
    if (event.key === "Escape" && drawing) { event.preventDefault(); this.cancel(); }
    else if (event.key === "Enter" && this.picture && !drawing) {
      event.preventDefault();
      const [w, h] = this.picture.header.size;
      this.begin({ box: [w * 0.4, h * 0.4, w * 0.2, h * 0.2] });
      this.on.mode("Arrows move, Shift + arrows resize, Enter accepts, Esc gives up");
    } else if (event.key === "Enter" && drawing?.box) { event.preventDefault(); this.finish(); }
    else if (drawing?.box && arrows[event.key]) {
      event.preventDefault();
      const [w, h] = this.picture.header.size;
      const step = Math.max(1, Math.round(Math.max(w, h) / (event.altKey ? 600 : 100)));
      const [dx, dy] = arrows[event.key].map((v) => v * step);
      const b = drawing.box, least = 4;
      if (event.shiftKey) { b[2] = Math.min(Math.max(b[2] + dx, least), w - b[0]); b[3] = Math.min(Math.max(b[3] + dy, least), h - b[1]); }
      else { b[0] = Math.min(Math.max(b[0] + dx, 0), w - b[2]); b[1] = Math.min(Math.max(b[1] + dy, 0), h - b[3]); }
      this.paint();
    }
  }

  box() {
    if (this.drawing.box) return [...this.drawing.box];
    const { from, to } = this.drawing;
    return [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.abs(from[0] - to[0]), Math.abs(from[1] - to[1])];
  }

  finish() {
    const box = this.box(), seq = this.drawing.seq;
    this.resume();
    this.on.drawn(box, seq);
  }

  cancel(reason = "") {
    if (!this.drawing) return;
    this.resume();
    this.on.cancel(reason);
  }

  resume() {
    this.drawing = null;
    if (this.coming) {
      const { bitmap, header } = this.coming;
      this.coming = null;
      this.show(bitmap, header);
    } else this.paint();
  }

  paint() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.paintNow(); });
  }

  paintNow() {
    const { context: c, canvas, picture } = this;
    const ratio = this.ratio || 1, W = canvas.width / ratio, H = canvas.height / ratio;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, W, H);
    if (!picture) return;
    const [w, h] = picture.header.size;
    const place = fit(w, h, W, H);
    c.imageSmoothingQuality = "high";
    c.drawImage(picture.bitmap, place.x, place.y, w * place.scale, h * place.scale);
    const toView = (b) => [place.x + b[0] * place.scale, place.y + b[1] * place.scale, b[2] * place.scale, b[3] * place.scale];
    c.save();
    c.beginPath();
    c.rect(place.x, place.y, w * place.scale, h * place.scale);
    c.clip();
    const several = picture.header.tracks.length > 1;
    let lost = 0;
    for (const track of picture.header.tracks) {
      if (!track.box) this.badge(`${several ? `#${track.id} ` : ""}Lost`, place.x + 8, place.y + 8 + 26 * lost++, RED);
      else if (!this.drawing) this.target(track, toView(track.box), several, place.y);
    }
    if (this.drawing) {
      const box = toView(this.box());
      c.fillStyle = "rgb(8 10 12 / .45)";
      c.beginPath();
      c.rect(0, 0, W, H);
      c.rect(...box);
      c.fill("evenodd");
      c.strokeStyle = "#fff";
      c.lineWidth = 2;
      c.setLineDash([6, 4]);
      c.strokeRect(...box);
      c.setLineDash([]);
    }
    c.restore();
  }

  target(track, [x, y, w, h], several, top) {
    const c = this.context, unsure = track.state === "uncertain";
    const colour = unsure ? AMBER : this.colours[track.id % this.colours.length];
    c.strokeStyle = DARK;
    c.lineWidth = 4.5;
    c.strokeRect(x, y, w, h);
    c.strokeStyle = colour;
    c.lineWidth = 2.5;
    if (unsure) c.setLineDash([8, 6]);
    c.strokeRect(x, y, w, h);
    c.setLineDash([]);
    const text = `${several ? `#${track.id}  ` : ""}${track.score.toFixed(2)}${unsure ? " ?" : ""}`;
    this.badge(text, x - 1, y - 22 > top ? y - 22 : y + h + 2, colour);
  }

  badge(text, x, y, colour) {
    const c = this.context;
    c.font = "600 13px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
    const width = c.measureText(text).width + 12;
    const left = Math.max(0, Math.min(x, this.canvas.width / (this.ratio || 1) - width));
    c.fillStyle = colour;
    c.beginPath();
    c.roundRect(left, y, width, 20, 4);
    c.fill();
    const [r, g, b] = [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16));
    c.fillStyle = 0.299 * r + 0.587 * g + 0.114 * b > 130 ? "#000" : "#fff";
    c.textBaseline = "middle";
    c.fillText(text, left + 6, y + 10.5);
  }
}
