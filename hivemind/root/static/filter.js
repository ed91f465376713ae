// Hides the rows of a list that do not match what is typed. What the server left out (?match=) is asked for by Enter.
const form = document.querySelector("form[data-filter]");
const input = form.querySelector("input");
const list = document.querySelector(`[data-list="${form.dataset.filter}"]`);
const asked = input.defaultValue.toLowerCase();

function sift() {
  const wanted = input.value.trim().toLowerCase();
  for (const row of list.children) {
    const cells = [...row.children].slice(0, 3).map((cell) => cell.textContent.toLowerCase());
    const hidden = !cells.some((text) => text.includes(wanted));
    if (row.hidden !== hidden) row.hidden = hidden;
  }
}

input.addEventListener("input", sift);
input.addEventListener("search", () => {
  if (!input.value && asked) form.requestSubmit();
});
new MutationObserver(sift).observe(list, { childList: true, characterData: true, subtree: true });
sift();
