// Updates the page that the server rendered. Texts go in as text, never as markup; new rows are clones of the
// page's <template> elements. Browsers hold six event streams a host, so a hidden tab closes its own.
const page = document.getElementById("page");
const connection = document.getElementById("connection");
const AGAIN = 3000; // milliseconds until a stream that the server refused is tried again
const SILENCE = 15000; // milliseconds without an event or a sign of life: a root that hangs closes no connection
const LOOK = 1000; // milliseconds between two looks for that

// What data-draw="attribute:field …" may set: numbers and paths of a drawing, and texts that are read out.
const DRAWN = new Set(["points", "d", "x", "y", "x1", "x2", "y1", "y2", "r", "width", "height", "viewBox",
  "stroke-width", "transform", "value", "max", "title", "aria-label"]);

const NOTHING = new Set(["0", "0/s", "–"]);

let stream = null;
let timer = null;
let heard = 0;

function own(item, selector) {
  return [...item.querySelectorAll(selector)].filter((part) => part.parentElement.closest("[data-key]") === item);
}

function fill(item, data) {
  if (item.dataset.state !== data.state) item.dataset.state = data.state;
  for (const part of own(item, "[data-field]")) {
    const text = data.fields[part.dataset.field] ?? "";
    write(part, text);
    if (part.classList.contains("number")) part.toggleAttribute("data-zero", NOTHING.has(text));
  }
  for (const part of own(item, "[data-link]")) {
    const address = data.fields[part.dataset.link] ?? "";
    part.hidden = !isOurs(address);
    if (!part.hidden) part.setAttribute("href", address);
  }
  for (const part of own(item, "[data-draw]")) {
    for (const [attribute, field] of part.dataset.draw.split(" ").map((pair) => pair.split(":"))) {
      if (DRAWN.has(attribute)) part.setAttribute(attribute, data.fields[field] ?? "");
    }
  }
  for (const list of own(item, "[data-list]")) {
    fillList(list, data.lists[list.dataset.list] ?? []);
  }
}

// Sentences name commands in backticks: where the template says so with data-said, these are shown as <code>.
function write(part, text) {
  const pieces = "said" in part.dataset ? text.split("`") : [text];
  if (part.textContent === pieces.join("")) return;
  part.replaceChildren(...pieces.map((piece, at) => (at % 2 ? code(piece) : piece)));
}

function code(text) {
  const made = document.createElement("code");
  made.textContent = text;
  return made;
}

function isOurs(address) {
  return /^([?#]|\/(?![\/\\]))/.test(address);
}

function fillList(list, items) {
  const known = new Map([...list.children].map((child) => [child.dataset.key, child]));
  items.forEach((data, at) => {
    const child = known.get(data.key) ?? blank(list.dataset.list);
    known.delete(data.key);
    child.dataset.key = data.key;
    if (list.children[at] !== child) list.insertBefore(child, list.children[at] ?? null);
    fill(child, data);
  });
  while (list.children.length > items.length) list.lastElementChild.remove(); // also those of which two have one key
}

function blank(kind) {
  return document.querySelector(`template[data-item="${kind}"]`).content.firstElementChild.cloneNode(true);
}

function say(state, text) {
  connection.dataset.state = state;
  connection.textContent = text;
}

function follow() {
  clearTimeout(timer);
  if (stream !== null || document.hidden) return;
  heard = performance.now();
  stream = new EventSource("/events" + location.pathname + location.search);
  stream.addEventListener("sign", hear);
  stream.addEventListener("snapshot", (event) => {
    hear();
    const data = JSON.parse(event.data);
    fill(page, data);
    say("live", `live, as of ${data.fields.read}`);
  });
  stream.addEventListener("error", () => {
    say("lost", "connection lost, retrying");
    if (stream !== null && stream.readyState === EventSource.CLOSED) {
      rest();
      timer = setTimeout(follow, AGAIN);
      loginIfAsked();
    }
  });
}

function hear() {
  heard = performance.now();
}

// The other streams of the page lead to the same root: they are told, and begin anew as this one does.
setInterval(() => {
  if (stream === null || performance.now() - heard < SILENCE) return;
  say("lost", "nothing heard from the root, retrying");
  rest();
  follow();
  document.dispatchEvent(new Event("silence"));
}, LOOK);

// A session that is over sends a page to the login: then so are we.
async function loginIfAsked() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "manual" }).catch(() => null);
  if (answer?.type === "opaqueredirect") location.reload();
}

function rest() {
  clearTimeout(timer);
  if (stream !== null) stream.close();
  stream = null;
}

document.addEventListener("visibilitychange", () => (document.hidden ? rest() : follow()));
window.addEventListener("pagehide", rest);
window.addEventListener("pageshow", follow);
follow();

export { blank, fill, fillList };
