// Boots: who is signed in, which page, and the frame around it.

import "./components/toast-list.js";
import { failure } from "./components/empty-state.js";
import { accountMenu } from "./components/account-menu.js";
import { h, replace } from "./lib/element.js";
import { icon } from "./lib/icons.js";
import { current, go, hash, route, start } from "./lib/router.js";
import { ENDED, changes, hadSession, loadSession, may, session } from "./lib/session.js";

// What each page needs of the key; what it may not do is not offered.
const PAGES = [
  { path: "/playground", title: "Playground", icon: "chat", module: "playground", allowed: () => may("inference") },
  { path: "/conversations", title: "Conversations", icon: "list", module: "conversations", allowed: () => may("inference") },
  { path: "/usage", title: "Usage", icon: "chart", module: "usage", allowed: () => may("usage:read") },
  { path: "/keys", title: () => (session().admin ? "Keys" : "My key"), icon: "key", module: "keys", allowed: () => true },
  { path: "/operations", title: "Operations", icon: "activity", module: "operations", allowed: () => session().admin || may("inference") },
  { path: "/models", title: "Models", icon: "cube", module: "models", allowed: () => may("models:read") },
];
const PRODUCT = "mlops_backend";

class ConsoleApp extends HTMLElement {
  #reason = "";
  #page = null;
  #main = null;

  connectedCallback() {
    start();
    route.addEventListener("change", () => this.#show());
    route.addEventListener("params", () => this.#tell());
    changes.addEventListener("change", () => this.#begin());
    changes.addEventListener("ended", (event) => this.#begin(event.detail));
    this.#boot();
  }

  async #boot() {
    try {
      if (hadSession() && !(await loadSession())) return this.#begin(ENDED);
    } catch (error) {
      const again = () => location.reload();
      return replace(this, h("main", { class: "alone" }, failure(error, { title: "The service does not answer", again, level: 1 })));
    }
    return this.#begin();
  }

  #begin(reason = "") {
    this.#reason = reason;
    this.#main = null;
    if (session()) this.#frame();
    this.#show();
  }

  #frame() {
    this.#main = h("main", { id: "main", tabindex: "-1" });
    const skip = h("a", { class: "skip", href: "#main", onclick: (event) => this.#skip(event) }, "Skip to content");
    replace(this, skip, this.#bar(), this.#side(), this.#main, h("toast-list"));
  }

  #skip(event) {
    event.preventDefault();
    this.#main.focus();
  }

  #bar() {
    const open = h("button", { type: "button", class: "button plain icon-only", "aria-label": "Menu", onclick: () => this.#drawer() }, icon("menu", { size: 22 }));
    return h("header", { class: "bar" }, open, brand());
  }

  #side() {
    return h("aside", { class: "side", "aria-label": "Console" }, brand(), navigation(), accountMenu());
  }

  // On a phone the same navigation comes as a dialog, which keeps the focus and closes by Escape.
  #drawer() {
    const close = h("button", { type: "button", class: "button plain icon-only", "aria-label": "Close menu", onclick: () => dialog.close() }, icon("close", { size: 22 }));
    const dialog = h("dialog", { class: "drawer", "aria-label": "Menu" }, h("div", { class: "drawer-head" }, brand(), close), navigation(), accountMenu());
    dialog.addEventListener("close", () => dialog.remove());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog || event.target.closest("nav a")) dialog.close();
    });
    this.append(dialog);
    dialog.showModal();
  }

  async #show() {
    if (!session()) return this.#showSignIn();
    const page = this.#choose();
    if (!page) return undefined;
    const isFirst = this.#page === null;
    const mine = { page };
    this.#page = mine;
    mark(this, page);
    document.title = `${titleOf(page)} · ${PRODUCT}`;
    const element = await this.#made(page);
    if (this.#page !== mine) return undefined;
    mine.element = element;
    replace(this.#main, element);
    scrollTo(0, 0);
    if (!isFirst) focusOn(this.#main);
    return undefined;
  }

  async #showSignIn() {
    const mine = {};
    this.#page = mine;
    document.title = `Sign in · ${PRODUCT}`;
    const element = await load("sign-in").catch((error) => failure(error));
    if (this.#page !== mine) return;
    element.reason = this.#reason;
    replace(this, element, h("toast-list"));
    this.#page = null;
  }

  #choose() {
    const allowed = PAGES.filter((page) => page.allowed());
    const { path } = current();
    const page = allowed.find((one) => one.path === path);
    if (!page && allowed.length) {
      history.replaceState(null, "", hash(allowed[0].path));
      go(allowed[0].path);
      dispatchEvent(new Event("popstate"));
      return null;
    }
    return page;
  }

  async #made(page) {
    try {
      const element = await load(page.module);
      element.params = current().params;
      return element;
    } catch (error) {
      return failure(error, { title: "This page cannot be loaded", again: () => location.reload(), level: 1 });
    }
  }

  #tell() {
    const element = this.#page?.element;
    if (!element) return;
    element.params = current().params;
    element.paramsChanged?.();
  }
}

function brand() {
  return h("a", { class: "brand", href: "#/", "aria-label": `${PRODUCT}, home` }, h("span", { class: "brand-mark", "aria-hidden": "true" }, "m"), h("span", { class: "brand-name" }, PRODUCT));
}

function navigation() {
  const links = PAGES.filter((page) => page.allowed()).map((page) =>
    h("li", null, h("a", { href: hash(page.path), dataset: { path: page.path }, "aria-current": current().path === page.path && "page" }, icon(page.icon), titleOf(page))),
  );
  return h("nav", { class: "nav", "aria-label": "Pages" }, h("ul", null, links));
}

function mark(app, page) {
  for (const link of app.querySelectorAll("nav.nav a")) {
    if (link.dataset.path === page.path) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function titleOf(page) {
  return typeof page.title === "function" ? page.title() : page.title;
}

// A page is a module whose default export is a class of element; its name is made of the module's.
async function load(name) {
  const { default: Page } = await import(`./pages/${name}.js`);
  const tag = `page-${name}`;
  if (!customElements.get(tag)) customElements.define(tag, Page);
  return document.createElement(tag);
}

// A reader who went to another page begins at its heading, which may come, or be drawn again, a moment later: until
// something is pressed.
function focusOn(main) {
  const look = () => {
    if (![main, document.body].includes(document.activeElement)) return;
    const heading = main.querySelector("h1");
    heading?.setAttribute("tabindex", "-1");
    (heading ?? main).focus({ preventScroll: true });
  };
  main.focus({ preventScroll: true });
  look();
  const redrawn = new MutationObserver(look);
  redrawn.observe(main, { childList: true, subtree: true });
  for (const kind of ["keydown", "pointerdown"]) addEventListener(kind, () => redrawn.disconnect(), { once: true, capture: true });
}

customElements.define("console-app", ConsoleApp);
