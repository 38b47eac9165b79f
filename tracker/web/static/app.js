// Wires the link, the stage and the panel together.

import { Link } from "./link.js";
import { Panel } from "./panel.js";
import { Stage } from "./stage.js";

const $ = (id) => document.getElementById(id);
let adding = false, recording = false, seen = false, targets = 0, linked = "waiting", source = { state: "connecting", text: "" }, held = "";
let decoding = 0, waiting = null;

const panel = new Panel({ drop: (id) => ask({ type: "drop", id }) });

const stage = new Stage($("view"), {
  begin: (seq) => { link.send({ type: "hold", seq }); hint("The picture is held while you draw"); },
  drawn: (box, seq) => { ask({ type: "target", box, seq, add: adding }); setAdding(false); hint(""); },
  cancel: (reason) => { link.send({ type: "release" }); hint(""); if (reason) panel.notice(reason); },
  mode: (text) => { hint(text); panel.speak(text); },
});

const link = new Link({
  hello: (message) => {
    panel.hello(message);
    stage.colours = message.colours;
    $("record").classList.toggle("off", !message.can_record);
    $("record").title = message.can_record ? "Video with boxes, and a csv of them" : "Start the tool with --save-dir FOLDER to record";
    shape(message.source.width, message.source.height);
    document.title = `SiamTrack – ${message.source.name}`;
    link.send({ type: "show", views: $("response").open });
  },
  status: (message) => {
    if (message.source) { source = message.source; veil(); }
    if (message.recording) showRecording(message.recording);
    if (message.recordings) panel.recordings(message.recordings);
  },
  notice: (message) => panel.notice(message.text, message.level),
  started: () => panel.speak("Target set"),
  frame: (header, parts) => receive(header, parts),
  state: (name, text) => { linked = name; if (name !== "live") { stage.cancel(); waiting = null; } veil(text); },
});

// Frames are decoded one after the other; of those that come meanwhile only the newest counts.
async function receive(header, parts) {
  if (decoding) { waiting = [header, parts]; return; }
  decoding = 1;
  try {
    const bitmap = await createImageBitmap(new Blob([parts.picture], { type: "image/jpeg" }));
    if (!seen) { seen = true; veil(); }
    shape(...header.size);
    targets = header.tracks.length;
    stage.show(bitmap, header);
    panel.frame(header);
    hint(held);
    await panel.views(header, parts);
    await visible();
  } catch (error) {
    panel.notice(`A picture could not be read: ${error.message}`, "error");
  } finally {
    decoding = 0;
    link.send({ type: "ack", seq: header.seq });
  }
  if (waiting) { const next = waiting; waiting = null; receive(...next); }
}

function shape(width, height) { $("stage").style.aspectRatio = `${width} / ${height}`; }

// A page that nobody sees acknowledges nothing, so that it is sent nothing.
function visible() {
  if (!document.hidden) return null;
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

function ask(message) {
  if (!link.send(message)) panel.notice("There is no connection to the tracker; nothing was done.", "error");
}

function hint(text) {
  held = text;
  const idle = linked === "live" && seen && !targets ? "Drag a box around what you want to follow" : "";
  const shown = text || (adding ? "Drag a box around the further target" : idle);
  $("hint").hidden = !shown;
  if ($("hint").textContent !== shown) $("hint").textContent = shown;
}

function setAdding(on) {
  adding = on;
  $("add").setAttribute("aria-pressed", on);
  hint("");
}

function showRecording({ on, name, seconds }) {
  recording = on;
  $("record").setAttribute("aria-pressed", on);
  const clock = `${String(Math.floor(seconds / 60)).padStart(2, "0")}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  $("record-text").textContent = on ? `Stop ${clock}` : "Record";
  $("record").title = on ? `Recording ${name}` : "Video with boxes, and a csv of them";
}

// One sentence over the picture when it isn't live, and the same in short in the corner.
function veil(text = "") {
  const broken = linked === "broken", away = linked === "live" && source.state !== "live";
  const state = broken ? "broken" : linked !== "live" || source.state === "reconnecting" || !seen ? "waiting" : away ? "broken" : "live";
  $("link").dataset.state = state;
  const words = { ended: "Ended", failed: "Source lost", closed: "Closed", reconnecting: "Source reconnecting" };
  $("link-text").textContent = broken ? "Disconnected" : linked !== "live" ? "Connecting" : away ? words[source.state] ?? "Connecting" : seen ? "Live" : "Connecting";
  $("veil").hidden = state === "live";
  document.body.classList.toggle("stale", state !== "live" && seen); // what stands beside the picture is no longer so
  $("veil-text").textContent = linked !== "live" ? text : away && source.text ? `${source.text.replace(/\.$/, "")}.` : "Waiting for the first picture";
  $("retry").hidden = !broken;
  document.querySelector(".spinner").hidden = state === "broken" && !broken;
  for (const id of ["record", "add"]) $(id).disabled = linked !== "live";
  if (linked !== "live") $("clear").disabled = true;
}

$("record").addEventListener("click", () => ask({ type: "record", on: !recording }));
$("add").addEventListener("click", () => setAdding(!adding));
$("clear").addEventListener("click", () => ask({ type: "clear" }));
$("retry").addEventListener("click", () => link.retry());
$("response").addEventListener("toggle", () => link.send({ type: "show", views: $("response").open }));
$("full").hidden = !document.fullscreenEnabled;
$("full").addEventListener("click", () => $("stage").requestFullscreen());
document.addEventListener("visibilitychange", () => { if (!document.hidden) stage.resize(); });
veil("Connecting");
