// Keys: an administrator finds, makes and changes them; everybody else sees their own, and what is left of its limits.

import { h, replace } from "../lib/element.js";
import { session } from "../lib/session.js";
import { useStyles } from "../lib/styles.js";

export default class KeysPage extends HTMLElement {
  params = new URLSearchParams();
  #part = null;
  #isOne = null;

  async connectedCallback() {
    await useStyles("keys.css");
    if (this.isConnected) await this.paramsChanged();
  }

  disconnectedCallback() {
    this.#part = null;
    this.#isOne = null;
  }

  // The list keeps its place while its own parameters change; a key is another view.
  async paramsChanged() {
    const id = session()?.admin ? this.params.get("id") : null;
    if (this.#part?.follow && this.#isOne === id) return this.#part.follow(this.params);
    const isChange = this.#part !== null;
    this.#isOne = id;
    const part = await this.#made(id);
    if (!this.isConnected || this.#isOne !== id) return undefined;
    this.#part = part;
    replace(this, part.node);
    if (isChange) this.querySelector("h1")?.focus({ preventScroll: true });
    return undefined;
  }

  async #made(id) {
    if (!session()?.admin) return (await import("./keys/own.js")).ownKey();
    if (id) return (await import("./keys/details.js")).keyDetails(id);
    const { keyList } = await import("./keys/list.js");
    return keyList(this.params);
  }
}

/** What a part of the page is made of. */
export const part = (...children) => h("div", { class: "stack keys" }, ...children);
