// A row per target over the whole clip: scores, key boxes, doubtful and approved stretches. It seeks like a slider.

const COLOURS = { d: "#ffb000", a: "#2e9e57" };

export class Timeline {
  // on: {seek(frame)}
  constructor(canvas, on) {
    Object.assign(this, { canvas, on, context: canvas.getContext("2d"), frames: 1, frame: 0, rows: [], ratio: 1 });
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("pointerdown", (e) => { if (e.button === 0) { canvas.setPointerCapture(e.pointerId); this.held = e.pointerId; this.seek(e); } });
    canvas.addEventListener("pointermove", (e) => { if (this.held === e.pointerId) this.seek(e); });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { this.held = null; });
  }

  get bins() { return Math.max(50, Math.min(1500, this.canvas.clientWidth)); }

  resize() {
    this.ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * this.ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * this.ratio));
    this.paint();
  }

  seek(event) {
    const area = this.canvas.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - area.left) / area.width, 0), 1);
    this.on.seek(Math.min(this.frames - 1, Math.floor(share * this.frames)));
  }

  // rows: [{id, colour, keys: [[frame, box]], score: [], kind: ""}]
  show(frames, frame, rows, selected) {
    Object.assign(this, { frames, frame, rows, selected });
    this.canvas.setAttribute("aria-valuemax", frames - 1);
    this.canvas.setAttribute("aria-valuenow", frame);
    this.canvas.setAttribute("aria-valuetext", `frame ${frame} of ${frames - 1}`);
    this.paint();
  }

  paint() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.paintNow(); });
  }

  paintNow() {
    const c = this.context, W = this.canvas.width / this.ratio, H = this.canvas.height / this.ratio;
    const style = getComputedStyle(document.documentElement), ink = style.getPropertyValue("--ink"), line = style.getPropertyValue("--line"), well = style.getPropertyValue("--well");
    c.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    c.fillStyle = well;
    c.fillRect(0, 0, W, H);
    const count = Math.max(this.rows.length, 1), high = Math.min(40, H / count);
    this.rows.forEach((row, n) => {
      const top = n * high, bins = row.kind.length, wide = W / Math.max(bins, 1), pad = Math.min(4, high / 6);
      if (row.id === this.selected) { c.fillStyle = "rgb(127 160 180 / .18)"; c.fillRect(0, top, W, high); }
      for (let k = 0; k < bins; k++) {
        const kind = row.kind[k];
        if (kind === "-") continue;
        if (kind === "o") { c.fillStyle = line; c.fillRect(k * wide, top + high / 2 - 1, wide + 0.5, 2); continue; }
        const score = row.score[k] ?? 1, room = high - 2 * pad;
        c.fillStyle = COLOURS[kind] || row.colour;
        const tall = Math.max(3, room * score);
        c.fillRect(k * wide, top + pad + room - tall, wide + 0.5, tall);
      }
      for (const [frame, box] of row.keys) {
        const x = (frame + 0.5) / this.frames * W, y = top + high / 2;
        c.fillStyle = box ? ink : well;
        c.strokeStyle = box ? well : ink;
        c.lineWidth = 1.5;
        c.beginPath(); c.moveTo(x, y - 6); c.lineTo(x + 5, y); c.lineTo(x, y + 6); c.lineTo(x - 5, y); c.closePath(); c.fill(); c.stroke();
      }
      c.fillStyle = line;
      c.fillRect(0, top + high - 0.5, W, 0.5);
    });
    const x = (this.frame + 0.5) / this.frames * W;
    c.fillStyle = ink;
    c.fillRect(x - 1, 0, 2, H);
    c.beginPath(); c.moveTo(x - 5, 0); c.lineTo(x + 5, 0); c.lineTo(x, 7); c.fill();
  }
}
