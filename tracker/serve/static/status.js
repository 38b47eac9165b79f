// The table is read once a second; the picture of the chosen stream as fast as the last one came, at most five a second.
const $ = (id) => document.getElementById(id);
let chosen = "";

function cell(label, text, kind = "") {
  const td = document.createElement("td");
  td.dataset.label = label;
  td.textContent = text ?? "";
  td.className = kind;
  return td;
}

function row(stream) {
  const tr = document.createElement("tr");
  const name = cell("Stream", "");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = stream.name;
  button.setAttribute("aria-pressed", String(stream.name === chosen));
  button.addEventListener("click", () => choose(stream.name));
  name.append(button);
  const state = cell("State", "");
  const about = document.createElement("div");
  const word = document.createElement("span");
  word.textContent = stream.state;
  word.className = stream.state;
  about.append(word);
  state.append(about);
  if (stream.text && stream.state !== "live") {
    const why = document.createElement("small");
    why.textContent = stream.text;
    about.append(why);
  }
  const targets = stream.targets.map((t) => `${t.id} ${t.state} ${t.score.toFixed(2)}`).join(", ");
  const { p50, p95 } = stream.latency_ms;
  const latency = p50 === null ? "" : `${Math.round(p50)}, ${Math.round(p95)} ms`;
  tr.append(name, state, cell("Targets", targets), cell("Frames", stream.frames, "n"), cell("Dropped", stream.dropped, "n"),
    cell("Tracked", stream.tracked, "n"), cell("Latency p50, p95", latency, "n"), cell("Worker", stream.worker, "n"));
  return tr;
}

async function refresh() {
  try {
    const answer = await fetch("api/state");
    if (!answer.ok) throw new Error((await answer.json()).error);
    const state = await answer.json();
    const live = state.streams.filter((s) => s.state === "live").length;
    const workers = state.workers.filter((w) => w.ready && !w.spare).length;
    $("summary").textContent = `${live} of ${state.streams.length} streams live, ${workers} ${workers === 1 ? "worker" : "workers"}`;
    const focused = document.activeElement?.tagName === "BUTTON" ? document.activeElement.textContent : "";
    $("streams").replaceChildren(...state.streams.map(row));
    if (focused) [...document.querySelectorAll("#streams button")].find((b) => b.textContent === focused)?.focus();
    $("listeners").replaceChildren(...Object.entries(state.results).map(([name, one]) => {
      const li = document.createElement("li");
      li.textContent = `${name}: ${one.written} lines written, ${one.missed} missed${one.problem ? `; ${one.problem}` : ""}`;
      return li;
    }));
  } catch (error) {
    $("summary").textContent = `No answer: ${error.message}`;
  }
  setTimeout(refresh, 1000);
}

function choose(name) {
  const begin = chosen === "";
  chosen = name;
  $("which").textContent = name;
  if (begin) picture();
}

function picture() {
  const next = new Image();
  next.onload = () => {
    $("picture").src = next.src;
    $("picture").hidden = false;
    $("which").textContent = chosen;
    setTimeout(picture, 200);
  };
  next.onerror = () => {
    $("which").textContent = `${chosen}: there is no picture at the moment`;
    setTimeout(picture, 1000);
  };
  next.src = `api/streams/${encodeURIComponent(chosen)}/picture?n=${Date.now()}`;
}

refresh();
