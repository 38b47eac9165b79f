// The WebSocket to the tracker: takes messages apart, and connects again when it breaks.

const FIRST_WAIT = 500, LONGEST_WAIT = 8000;

export class Link {
  // on: {hello, status, notice, started, frame, state}; state(name, text): "waiting", "live", "broken".
  constructor(on) {
    this.on = on;
    this.wait = FIRST_WAIT;
    this.reason = "";
    this.connect();
  }

  connect() {
    clearTimeout(this.timer);
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => { this.wait = FIRST_WAIT; this.on.state("live", "Connected"); };
    socket.onmessage = (event) => this.take(event.data);
    socket.onclose = (event) => { if (this.socket === socket) this.closed(event); };
  }

  async closed(event) {
    this.socket = null;
    let reason = event.reason || "The connection to the tracker is lost.";
    // A refused handshake says nothing to a script; asking again over plain HTTP gives the sentence.
    try {
      const answer = await fetch("/ws", { cache: "no-store" });
      if ([401, 403, 503].includes(answer.status)) reason = (await answer.text()).trim();
    } catch {
      if (!event.reason) reason = "The tracker does not answer; it may have been stopped.";
    }
    const seconds = this.wait / 1000;
    this.on.state("broken", `${reason} Trying again in ${seconds < 1 ? "a moment" : seconds + " s"}.`);
    this.timer = setTimeout(() => this.connect(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
  }

  retry() {
    this.wait = FIRST_WAIT;
    if (!this.socket) { this.on.state("waiting", "Connecting"); this.connect(); }
  }

  send(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  take(data) {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      this.on[message.type]?.(message);
      return;
    }
    const length = new DataView(data).getUint32(0);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    const parts = {};
    let at = 4 + length;
    for (const [name, size] of header.parts) {
      parts[name] = new Uint8Array(data, at, size);
      at += size;
    }
    this.on.frame(header, parts);
  }
}
