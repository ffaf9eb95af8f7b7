// Light, dark, or as the system has it ("system"); kept in the browser.

const NAME = "console.theme";
/** Tells of "change", for what draws with colours of its own. */
export const theme = new EventTarget();
const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", () => theme.dispatchEvent(new Event("change")));

/** What was chosen. */
export function chosenTheme() {
  return document.documentElement.dataset.theme ?? "system";
}

/** Choose, and keep the choice where the browser keeps anything. */
export function chooseTheme(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  try {
    if (name === "system") localStorage.removeItem(NAME);
    else localStorage.setItem(NAME, name);
  } catch {
    // It holds until the page is left.
  }
  theme.dispatchEvent(new Event("change"));
}
