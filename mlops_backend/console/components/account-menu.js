// Who is signed in, the theme, and the way out.

import { h, uniqueId } from "../lib/element.js";
import { icon } from "../lib/icons.js";
import { session, signOut } from "../lib/session.js";
import { chooseTheme, chosenTheme } from "../lib/theme.js";
import { confirm } from "./confirm-dialog.js";
import { toast } from "./toast-list.js";

const THEMES = [["system", "System"], ["light", "Light"], ["dark", "Dark"]];

/** The foot of the navigation: a button that opens the menu. */
export function accountMenu() {
  const { name, admin, signed_in: signedIn } = session();
  const id = uniqueId("account");
  const who = signedIn ? name || "Key" : "No sign-in";
  const what = !signedIn ? "Keys are switched off" : admin ? "Administrator" : "Key";
  const button = h(
    "button",
    { type: "button", class: "account", popovertarget: id, "aria-haspopup": "true" },
    h("span", { class: "avatar", "aria-hidden": "true" }, icon(admin ? "shield" : "user", { size: 16 })),
    h("span", { class: "account-text" }, h("span", { class: "account-name" }, who), h("span", { class: "muted small" }, what)),
    icon("more"),
  );
  return h("div", { class: "account-area" }, button, menu(id, signedIn));
}

function menu(id, signedIn) {
  const { version } = session();
  const leave = (everywhere) => () => end(everywhere);
  return h(
    "div",
    { id, popover: "auto", class: "menu account-panel", role: "group", "aria-label": "Account" },
    themes(),
    h("hr"),
    h("a", { class: "menu-item", href: "../docs", target: "_blank", rel: "noopener" }, icon("code"), "API documentation"),
    signedIn && h("button", { type: "button", class: "menu-item", onclick: leave(true) }, icon("shield"), "Sign out everywhere…"),
    signedIn && h("button", { type: "button", class: "menu-item", onclick: leave(false) }, icon("logout"), "Sign out"),
    version && h("p", { class: "muted small menu-note" }, `Version ${version}`),
  );
}

function themes() {
  const name = uniqueId("theme");
  const choices = THEMES.map(([value, label]) =>
    h(
      "label",
      { class: "segment" },
      h("input", { type: "radio", name, value, ".checked": chosenTheme() === value, onchange: () => chooseTheme(value) }),
      h("span", null, label),
    ),
  );
  return h("fieldset", { class: "segments" }, h("legend", { class: "visually-hidden" }, "Theme"), choices);
}

async function end(everywhere) {
  const text = "Every browser that is signed in with this key is signed out.";
  if (everywhere && !(await confirm({ title: "Sign out everywhere?", text, action: "Sign out everywhere" }))) return;
  try {
    await signOut({ everywhere });
  } catch (error) {
    toast(error.message, { kind: "danger" });
  }
}
