// Tells below the picture what a box or a line counts that one points at, or reached with Tab, and shows what belongs to it.
const picture = document.getElementById("picture");
const told = document.getElementById("told");
const MOST = 12; // lines of one box that are told

function itemOf(target) {
  return target instanceof Element ? target.closest("#picture [data-key]") : null;
}

function show(item) {
  const key = JSON.parse(item.dataset.key);
  const isEdge = Array.isArray(key[0]);
  const same = (one, other) => one[0] === other[0] && one[1] === other[1];
  const lines = [];
  for (const edge of picture.querySelectorAll(".edge")) {
    const belongs = isEdge ? edge === item : JSON.parse(edge.dataset.key).some((end) => same(end, key));
    edge.classList.toggle("shown", belongs);
    if (belongs) lines.push(edge.querySelector("title").textContent);
  }
  picture.classList.add("chosen");
  const head = isEdge ? [] : [item.querySelector("title").textContent];
  const rest = lines.length > MOST ? [`and ${lines.length - MOST} more`] : [];
  told.replaceChildren(...[...head, ...lines.slice(0, MOST), ...rest].map((text, at) => {
    const line = document.createElement("p");
    line.textContent = text;
    if (at > 0 || isEdge) line.className = "quiet";
    return line;
  }));
}

function leave() {
  picture.classList.remove("chosen");
  for (const edge of picture.querySelectorAll(".shown")) edge.classList.remove("shown");
}

for (const [come, go] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
  picture.addEventListener(come, (event) => {
    const item = itemOf(event.target);
    if (item !== null && (item.classList.contains("edge") || item.classList.contains("box"))) show(item);
  });
  picture.addEventListener(go, leave);
}
