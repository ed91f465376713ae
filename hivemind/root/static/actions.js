// Sends a form that does something to a node without leaving the page. What becomes of it, the page's events bring;
// here stands only what they cannot tell: that it was asked for, and why it was refused.
const said = document.getElementById("said");
const forms = [...document.querySelectorAll("form[data-act]")];
let busy = false;

function say(state, text) {
  said.dataset.state = state;
  said.textContent = text;
}

function hold(held) {
  busy = held;
  for (const button of forms.flatMap((form) => [...form.querySelectorAll("button")])) {
    button.setAttribute("aria-disabled", String(held));
  }
}

async function send(form) {
  const what = form.dataset.act;
  hold(true);
  say("", `${what}: asked for`);
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { Accept: "application/json" },
    });
    const kind = answer.headers.get("content-type") ?? "";
    const told = kind.startsWith("application/json") ? await answer.json() : { error: await answer.text() };
    if (told.ok === null) say("", `${what}: ${told.doing}`);
    else say(told.ok ? "" : "trouble", told.ok ? `${what}: done` : `${what}: ${told.error.trim() || "not all of it was done"}`);
  } catch {
    say("trouble", `${what}: the root does not answer; what was asked for may be done all the same`);
  }
  hold(false);
}

for (const form of forms) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    form.closest("[popover]")?.hidePopover();
    if (!busy) send(form);
  });
}
