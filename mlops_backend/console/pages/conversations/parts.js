// Parts of a conversation that is read: what is on its way, and the forms by which it is changed.

import { pictures } from "../../components/chat-parts.js";
import { h, hidden, uniqueId } from "../../lib/element.js";
import { icon } from "../../lib/icons.js";

/** Messages, each reply with those that it has replaced, which stand before it. */
export function grouped(messages) {
  const groups = [];
  let earlier = [];
  for (const message of messages) {
    if (message.replaced_at) earlier.push(message);
    else {
      groups.push({ message, earlier: message.role === "assistant" ? earlier : [] });
      earlier = [];
    }
  }
  return groups;
}

/** A message that is on its way. */
export function pendingQuestion(text, sources) {
  return h("li", { class: "message is-user" }, h("div", { class: "question" }, hidden("You: "), pictures(sources), text && h("p", { class: "question-text" }, text)));
}

/** Where a message is written anew. */
export function editForm(message, cancel, send) {
  const id = uniqueId("edit");
  const area = h("textarea", { id, class: "input", rows: Math.min(12, message.content.split("\n").length + 1), ".value": message.content });
  const submit = (event) => {
    event.preventDefault();
    if (area.value.trim() || message.images.length) send(area.value);
  };
  const foot = h("div", { class: "actions end" }, h("span", { class: "muted small" }, "What follows is deleted."), h("button", { type: "button", class: "button small", onclick: cancel }, "Cancel"), h("button", { class: "button primary small" }, "Send again"));
  return h("form", { class: "edit-form", onsubmit: submit, onkeydown: (event) => event.key === "Escape" && cancel() }, h("label", { for: id }, hidden("Your message")), area, foot);
}

/** Where a person says what the tools answer that a model has called. */
export function resultForm(calls, send) {
  const names = calls.map((one) => one.function?.name ?? "");
  const fields = names.map((name) => {
    const id = uniqueId("result");
    return h("div", { class: "field" }, h("label", { for: id }, "What ", h("code", null, name || "the tool"), " answers"), h("textarea", { id, class: "input mono", rows: 2, required: true }));
  });
  const submit = (event) => {
    event.preventDefault();
    const texts = [...event.target.querySelectorAll("textarea")].map(({ value }) => value);
    send(texts.map((content, at) => ({ role: "tool", tool_name: names[at], content })));
  };
  return h("form", { class: "result-form", onsubmit: submit }, fields, h("div", { class: "actions" }, h("button", { class: "button primary small" }, "Send the result")));
}

/** Nothing came. */
export function unansweredNote(ask) {
  const button = h("button", { type: "button", class: "button small", onclick: ask }, icon("refresh", { size: 16 }), "Ask for one");
  return h("div", { class: "note unanswered" }, h("span", null, "No reply came to this."), button);
}

/** Which model is to reply: the conversation's own at first, though it may not be there any more. Null without any. */
export function modelChoice(models, own) {
  const names = models.map(({ name }) => name);
  if (!names.length) return null;
  const all = !own || names.includes(own) ? names : [own, ...names];
  return h("select", { class: "input select model-choice", "aria-label": "Model" }, all.map((name) => h("option", { value: name, ".selected": name === own }, name)));
}
