// Sends a form without leaving its page, and writes what came of it into the form's <output>.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("form[data-act]")) return;
  event.preventDefault();
  const output = form.querySelector("output");
  const body = new URLSearchParams(new FormData(form, event.submitter));
  const buttons = [...form.querySelectorAll("button")];
  for (const button of buttons) button.disabled = true;
  output.dataset.state = "";
  output.textContent = "…";
  try {
    const where = event.submitter?.getAttribute("formaction") ?? form.getAttribute("action");
    const answer = await fetch(where, { method: "POST", body, headers: { Accept: "application/json" } });
    const text = await answer.text();
    output.dataset.state = answer.ok ? "well" : "trouble";
    const told = text.startsWith("{") ? JSON.parse(text) : { said: text };
    output.textContent = told.said ?? told.error;
    if (answer.ok) form.dispatchEvent(new CustomEvent("acted", { bubbles: true }));
  } catch {
    output.dataset.state = "trouble";
    output.textContent = "The root did not answer: nobody knows whether it was done.";
  }
  for (const button of buttons) button.disabled = false;
});
