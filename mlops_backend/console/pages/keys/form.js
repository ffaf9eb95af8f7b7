// The form of a key, new or there: what is sent is what was changed.

import { field, select } from "../../components/form-field.js";
import { h } from "../../lib/element.js";
import { limitFields } from "./limit-fields.js";
import { openDialog } from "./dialog.js";
import { changeKey, createKey } from "./store.js";
import { SCOPES } from "./words.js";

const NEW = { name: "", owner: "", scopes: ["inference", "models:read", "usage:read"], models: [], limits: {}, end_user_limits: {}, priority: "interactive", weight: 1, cache: false, expires_at: null, metadata: {} };

/** Ask for a new key; resolves to it with its secret, or null. */
export const askForKey = () => ask("New key", "Create key", NEW, (body) => createKey({ ...body, name: body.name ?? "" }));

/** Ask for changes of a key; resolves to the key as it then is, or null. */
export const askForChanges = (key) => ask("Change key", "Save", key, (body) => (Object.keys(body).length ? changeKey(key.id, body) : key));

async function ask(title, action, before, send) {
  const form = new KeyForm(before);
  const submit = h("button", { type: "submit", class: "button primary" }, action);
  const cancel = h("button", { type: "button", class: "button", onclick: () => opened.close() }, "Cancel");
  let made = null;
  const element = h("form", { class: "stack key-form", novalidate: true, onsubmit: (event) => go(event) }, form.nodes, form.trouble, h("div", { class: "actions end" }, cancel, submit));
  const opened = openDialog(title, element);
  async function go(event) {
    event.preventDefault();
    if (!form.check()) return;
    submit.disabled = true;
    try {
      made = await send(form.changes());
      opened.close();
    } catch (error) {
      form.refuse(error);
    }
    submit.disabled = false;
  }
  await opened.closed;
  return made;
}

class KeyForm {
  constructor(before) {
    this.before = before;
    this.controls = {
      name: h("input", { class: "input", maxlength: "200", required: true, autocomplete: "off", ".value": before.name, autofocus: true }),
      owner: h("input", { class: "input", maxlength: "200", autocomplete: "off", ".value": before.owner }),
      models: h("textarea", { class: "input mono", rows: "3", spellcheck: "false", ".value": before.models.join("\n") }),
      priority: select([["interactive", "Interactive"], ["batch", "Batch: gives way to the others"]], { value: before.priority }),
      weight: h("input", { class: "input", type: "number", min: "0.1", max: "100", step: "any", ".value": String(before.weight) }),
      cache: h("input", { type: "checkbox", ".checked": before.cache }),
      expires_at: h("input", { class: "input", type: "datetime-local", ".value": local(before.expires_at) }),
      metadata: h("textarea", { class: "input mono", rows: "3", spellcheck: "false", ".value": Object.keys(before.metadata).length ? JSON.stringify(before.metadata, null, 2) : "" }),
    };
    this.limits = limitFields(before.limits, { hasDefault: true });
    this.ofPeople = limitFields(before.end_user_limits, { hasDefault: false });
    this.scopes = SCOPES.map(([name, words]) => ({ name, words, box: h("input", { type: "checkbox", ".checked": before.scopes.includes(name) }) }));
    this.trouble = h("p", { class: "field-error", role: "alert" });
    this.nodes = this.#layout();
  }

  #layout() {
    const { name, owner, models, priority, weight, cache, expires_at: expiry, metadata } = this.controls;
    this.fields = {
      name: field("Name", name, { help: "Several keys may have the same." }),
      owner: field("Owner", owner, { optional: true, help: "Whose it is: a person, a team, an address." }),
      models: field("Models", models, { optional: true, wide: true, help: "Names, or patterns such as llama3*, one a line. Empty: every model." }),
      priority: field("Class in the queue", priority),
      weight: field("Weight", weight, { help: "From 0.1 to 100: a key of 3 has three turns for one of 1." }),
      expires_at: field("Expires", expiry, { optional: true, help: "In your time zone. Empty: never." }),
      metadata: field("Metadata", metadata, { optional: true, wide: true, help: "Any JSON object of up to 16 KiB, for you." }),
    };
    const all = this.fields;
    const boxes = this.scopes.map(({ name: scope, words, box }) => h("label", { class: "check scope" }, box, h("span", null, h("code", null, scope), h("span", { class: "muted small" }, ` ${words}`))));
    return [
      h("div", { class: "fields" }, all.name, all.owner),
      h("fieldset", { class: "group" }, h("legend", null, "Good for"), h("div", { class: "scopes" }, boxes)),
      all.models,
      h("fieldset", { class: "group" }, h("legend", null, "Limits"), h("p", { class: "muted small" }, "A key without its own has the service's default."), this.limits.node),
      fold("Limits of each end user", Object.keys(this.before.end_user_limits).length, h("p", { class: "muted small" }, "Where a front end has one key for many people: of each of them, beside the key's own. What is left out is no limit."), this.ofPeople.node),
      h("label", { class: "check scope" }, cache, h("span", null, "Response cache", h("span", { class: "muted small" }, " Answers that are the same each time are kept for it."))),
      fold("Queue, expiry and metadata", this.before.expires_at || this.before.priority !== "interactive" || this.before.weight !== 1 || Object.keys(this.before.metadata).length, h("div", { class: "fields" }, all.priority, all.weight, all.expires_at, all.metadata)),
    ];
  }

  /** Whether what can be seen here is right; says what is not. */
  check() {
    this.#clear();
    if (!this.controls.name.value.trim()) this.#fail("name", "A key needs a name.");
    else if (!this.scopes.some(({ box }) => box.checked)) this.trouble.textContent = "A key has to be good for something.";
    else if (this.#metadata() === undefined) this.#fail("metadata", "This is no JSON object.");
    else return true;
    return false;
  }

  /** What differs from before, as the API takes it. */
  changes() {
    const now = this.#now();
    const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
    return Object.fromEntries(Object.entries(now).filter(([name, value]) => !same(value, this.#then(name))));
  }

  /** Put what the service said to where it belongs. */
  refuse(error) {
    this.#clear();
    for (const { loc, msg } of error.details ?? []) this.#place([loc].flat().filter((one) => one !== "body"), msg);
    if (!error.details?.length) this.trouble.textContent = error.message;
    this.#reveal();
  }

  #place([name, inner], message) {
    const text = message.replace(/^Value error, /, "");
    if (name === "limits" && this.limits.fail(inner, text)) return;
    if (name === "end_user_limits" && this.ofPeople.fail(inner, text)) return;
    if (name in this.fields) this.fields[name].error = text;
    else this.trouble.textContent = [name, text].filter(Boolean).join(": ");
  }

  #fail(name, text) {
    this.fields[name].error = text;
    this.#reveal();
  }

  #clear() {
    Object.values(this.fields).forEach((one) => (one.error = null));
    [this.limits, this.ofPeople].forEach((one) => one.clear());
    this.trouble.textContent = "";
  }

  #reveal() {
    const wrong = this.trouble.closest("form")?.querySelector("[aria-invalid]");
    const folded = wrong?.closest("details");
    if (folded) folded.open = true;
    wrong?.focus();
  }

  #now() {
    const { name, owner, models, priority, weight, cache, expires_at: expiry } = this.controls;
    return {
      name: name.value.trim(),
      owner: owner.value.trim(),
      scopes: this.scopes.filter(({ box }) => box.checked).map((one) => one.name).sort(),
      models: models.value.split(/[\n,]/).map((one) => one.trim()).filter(Boolean),
      limits: this.limits.value(),
      end_user_limits: this.ofPeople.value(),
      priority: priority.value,
      weight: Number(weight.value),
      cache: cache.checked,
      // What was not touched keeps its seconds, which the field does not show.
      expires_at: expiry.value === local(this.before.expires_at) ? this.before.expires_at : expiry.value ? new Date(expiry.value).toISOString() : null,
      metadata: this.#metadata(),
    };
  }

  #then(name) {
    return name === "scopes" ? [...this.before.scopes].sort() : this.before[name];
  }

  #metadata() {
    const text = this.controls.metadata.value.trim();
    if (!text) return {};
    try {
      const value = JSON.parse(text);
      return value && typeof value === "object" && !Array.isArray(value) ? value : undefined;
    } catch {
      return undefined;
    }
  }
}

function fold(title, isOpen, ...children) {
  return h("details", { class: "group fold", open: Boolean(isOpen) }, h("summary", null, title), h("div", { class: "stack" }, children));
}

// A field of a time has no zone: it is the reader's.
function local(value) {
  if (!value) return "";
  const moment = new Date(value);
  return new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
