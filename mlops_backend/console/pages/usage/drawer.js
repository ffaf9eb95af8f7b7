// All that the ledger knows of one generation.

import { copyButton } from "../../components/copy-button.js";
import { failure, loading } from "../../components/empty-state.js";
import { json } from "../../lib/api.js";
import { h, replace } from "../../lib/element.js";
import { bytes, duration, money, NOTHING, number, timeNode } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { setParams } from "../../lib/router.js";
import { isAll, route } from "./state.js";
import { outcome } from "./words.js";

/** The dialog at the side; `open(id, known)` shows one, `close()` ends it. The address says which one is open. */
export class Drawer {
  #id = null;
  #asked = null;

  constructor() {
    this.body = h("div", { class: "usage-drawer-body" });
    this.title = h("h2", { id: "usage-drawer-title", tabindex: "-1" }, "Generation");
    const close = h("button", { type: "button", class: "button plain icon-only", "aria-label": "Close", onclick: () => this.node.close() }, icon("close"));
    this.node = h("dialog", { class: "usage-drawer", "aria-labelledby": "usage-drawer-title", onclose: () => this.#closed() }, h("div", { class: "row apart usage-drawer-head" }, this.title, close), this.body);
    this.node.addEventListener("click", (event) => event.target === this.node && this.node.close());
  }

  async open(id, known = null) {
    if (this.#id === id) return;
    this.#id = id;
    this.#asked?.abort();
    if (!this.node.open) this.node.showModal();
    this.title.focus();
    if (known) return void replace(this.body, ...details(known));
    await this.#ask(id);
    return undefined;
  }

  close() {
    if (this.node.open) this.node.close();
  }

  async #ask(id) {
    replace(this.body, loading());
    const control = (this.#asked = new AbortController());
    try {
      const found = await json("GET", route(`/generations/${encodeURIComponent(id)}`), { signal: control.signal });
      if (this.#id === id) replace(this.body, ...details(found));
    } catch (error) {
      if (this.#id === id && !control.signal.aborted) replace(this.body, failure(error, { title: "This generation cannot be shown", level: 3 }));
    }
  }

  #closed() {
    this.#id = null;
    this.#asked?.abort();
    setParams({ generation: null });
  }
}

function details(row) {
  const behind = row.completion_tokens - 1;
  const each = row.streamed && row.first_byte_ms != null && behind > 0 && !row.estimated ? (row.total_ms - row.first_byte_ms) / behind : null;
  return [
    h("div", { class: "row" }, outcome(row.outcome), h("span", { class: "muted small" }, timeNode(row.started_at))),
    row.error && h("p", { class: ["note", row.outcome === "done" ? "" : "danger"] }, icon("alert"), h("span", null, row.error)),
    group("Request", [
      ["Request id", withCopy(row.request_id, "Copy the request id")],
      ["Ledger id", withCopy(row.id, "Copy the ledger's id")],
      ["Status", String(row.status)],
      ["Route", h("code", null, row.route)],
      ["Dialect", row.dialect],
      isAll() && ["Key", row.name === row.key ? row.key : [row.name, " ", h("code", { class: "small muted" }, row.key)]],
      ["End user", row.end_user ? h("span", { class: "mono" }, row.end_user) : NOTHING],
    ]),
    group("Answered by", [
      ["Model", row.model || NOTHING],
      row.requested_model && ["Asked for as", row.requested_model],
      ["Backend", row.backend || NOTHING],
      row.passed_over && ["Asked in vain", row.passed_over.split(",").join(", ")],
      ["Answered", row.cached ? "from the response cache" : { true: "in pieces", false: "in one piece" }[row.streamed] ?? NOTHING],
    ]),
    group("Tokens", [
      ["Prompt", number(row.prompt_tokens)],
      ["Completion", number(row.completion_tokens)],
      ["Total", [number(row.total_tokens), row.estimated && h("span", { class: "badge" }, "estimated")]],
      Number(row.price) !== 0 && ["Price", h("span", { title: row.price }, money(row.price))],
    ]),
    group("Time and size", [
      [row.streamed === false ? "First byte" : "First token", duration(row.first_byte_ms)],
      each !== null && ["Per token", duration(each)],
      ["Whole", duration(row.total_ms)],
      ["Body received", bytes(row.bytes_in)],
      ["Body sent", bytes(row.bytes_out)],
    ]),
  ];
}

function group(title, pairs) {
  const rows = pairs.filter(Boolean).map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)));
  return h("section", null, h("h3", null, title), h("dl", { class: "usage-details" }, rows));
}

function withCopy(text, label) {
  return h("span", { class: "row usage-copied" }, h("code", null, text), copyButton(text, { label, compact: true }));
}
