// The log of a node as it grows. Entries go in as text; who scrolls up is left where he reads.
const list = document.getElementById("log");
const form = document.getElementById("log-filter");
const pause = document.getElementById("log-pause");
const status = document.getElementById("log-status");
const blank = document.getElementById("log-line");
const MOST = 1000; // entries on the page
const AGAIN = 3000; // milliseconds until a stream that was refused is tried again
const TYPED = 250; // milliseconds of rest before what was typed is asked for

let stream = null;
let timer = null;
let missed = 0;
let unseen = 0;

function show(fields) {
  const line = blank.content.firstElementChild.cloneNode(true);
  line.dataset.level = fields.level;
  for (const part of line.querySelectorAll("[data-part]")) part.textContent = fields[part.dataset.part] ?? "";
  return line;
}

function add(lines) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 30;
  list.append(...lines.map(show));
  while (list.childElementCount > MOST) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function say(state, text) {
  status.dataset.state = state;
  status.textContent = text;
}

function take(data) {
  missed += data.missed;
  unseen += data.unseen;
  add(data.lines);
  const notes = [...data.notes];
  if (missed) notes.push(`${missed} entries came too fast to be shown`);
  if (unseen) notes.push(`${unseen} entries came too fast to be sifted`);
  if (notes.length || status.dataset.state !== "live") say("live", notes.join(" · "));
}

function follow() {
  clearTimeout(timer);
  if (stream !== null || document.hidden || pause.getAttribute("aria-pressed") === "true") return;
  stream = new EventSource(`${list.dataset.events}?${new URLSearchParams(new FormData(form))}`);
  stream.addEventListener("begin", (event) => {
    list.replaceChildren();
    missed = unseen = 0;
    say("live", "");
    take(JSON.parse(event.data));
    list.scrollTop = list.scrollHeight;
  });
  stream.addEventListener("more", (event) => take(JSON.parse(event.data)));
  stream.addEventListener("error", () => {
    say("lost", "connection lost, retrying");
    if (stream !== null && stream.readyState === EventSource.CLOSED) {
      rest();
      timer = setTimeout(follow, AGAIN);
    }
  });
}

function rest() {
  clearTimeout(timer);
  if (stream !== null) stream.close();
  stream = null;
}

function anew() {
  rest();
  follow();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  anew();
});
form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(anew, TYPED);
});
pause.hidden = false;
pause.addEventListener("click", () => {
  const paused = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Go on" : "Pause";
  if (paused) {
    rest();
    say("paused", "paused");
  } else {
    follow();
  }
});
document.addEventListener("visibilitychange", () => (document.hidden ? rest() : follow()));
document.addEventListener("silence", anew);
window.addEventListener("pagehide", rest);
window.addEventListener("pageshow", follow);
list.scrollTop = list.scrollHeight;
follow();
