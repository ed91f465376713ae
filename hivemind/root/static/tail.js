// The messages of a topic as they pass by: the newest first, so many at the most, paused and filtered at will.
import { blank, fill } from "./hivemind.js";

const MOST = 200; // messages on the page, and that wait while it is paused
const TYPING = 250; // milliseconds after the last key until the server is asked with another filter
const AGAIN = 3000; // milliseconds until a stream that the server refused is tried again

const part = document.getElementById("tail");
const list = document.getElementById("messages");
const said = document.getElementById("tail-said");
const match = document.getElementById("match");
const pause = document.getElementById("pause");
const how = said.textContent;

let stream = null;
let timer = null;
let waiting = [];
let state = { more: 0, partial: false, said: "" };

// What the server sends matches; this is for what was there before, in which the tree has all that is searched here.
function shown(item) {
  return stream?.words === match.value || !match.value || item.textContent.toLowerCase().includes(match.value.toLowerCase());
}

function add(messages) {
  const known = new Map([...list.children].map((child) => [child.dataset.key, child]));
  for (const data of messages) {
    const item = known.get(data.key) ?? blank("messages");
    item.dataset.key = data.key;
    fill(item, data);
    item.hidden = !shown(item);
    if (!known.has(data.key)) list.prepend(item);
  }
  for (const old of [...list.children].slice(MOST)) old.remove();
}

function isPaused() {
  return pause.getAttribute("aria-pressed") === "true";
}

function tell() {
  const words = [how];
  if (isPaused()) words.push("paused" + (waiting.length ? `, ${waiting.length}${waiting.length < MOST ? "" : "+"} waiting` : ""));
  if (state.more) words.push(`${state.more.toLocaleString("en")} more not shown`);
  if (state.partial) words.push("too many to look at all of them");
  if (state.said) words.push(state.said);
  said.textContent = words.filter(Boolean).join(" · ");
}

function take(data) {
  state = { more: state.more + data.more, partial: data.partial, said: data.said };
  if (isPaused()) waiting = [...waiting, ...data.messages].slice(-MOST);
  else add(data.messages);
  tell();
}

function follow() {
  clearTimeout(timer);
  if (stream !== null || document.hidden) return;
  const words = match.value ? "?" + new URLSearchParams({ match: match.value }) : "";
  stream = new EventSource(part.dataset.events + words);
  stream.words = match.value;
  stream.addEventListener("messages", (event) => {
    part.dataset.live = "";
    take(JSON.parse(event.data));
  });
  stream.addEventListener("error", () => {
    delete part.dataset.live;
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
  delete part.dataset.live;
}

function anew() {
  rest();
  waiting = [];
  state = { more: 0, partial: false, said: "" };
  tell();
  follow();
}

pause.addEventListener("click", () => {
  pause.setAttribute("aria-pressed", String(!isPaused()));
  pause.textContent = isPaused() ? "Go on" : "Pause";
  if (!isPaused()) {
    add(waiting);
    waiting = [];
  }
  tell();
});

match.addEventListener("input", () => {
  for (const item of list.children) item.hidden = !shown(item);
  clearTimeout(timer);
  timer = setTimeout(anew, TYPING);
});

document.getElementById("tail-filter").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("visibilitychange", () => (document.hidden ? rest() : follow()));
document.addEventListener("silence", () => {
  rest();
  follow();
});
window.addEventListener("pagehide", rest);
window.addEventListener("pageshow", follow);
follow();
