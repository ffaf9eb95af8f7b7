// A stored message. Whatever stands in it, in its role or in its model's name, is text, or Markdown without markup.

import { Thoughts, pictures, storedFigures, toolCall, toolResult } from "../../components/chat-parts.js";
import { copyButton } from "../../components/copy-button.js";
import { markdown } from "../../components/x-markdown.js";
import { h, hidden } from "../../lib/element.js";
import { number, timeNode } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { imageAddress } from "./store.js";

const WHY = {
  client_gone: "its reader stopped it, or left",
  error: "the backend failed",
  timeout: "it took too long",
  drained: "the service was stopped",
  cancelled: "it was ended",
  refused: "it was refused",
};

/** A message as an item of the list; `earlier` are replies that it has replaced. */
export function messageView(message, { conversation, earlier = [] }) {
  const inner = { user: question, assistant: reply, tool, system }[message.role] ?? other;
  const item = h("li", { class: ["message", `is-${message.role in WORDS ? message.role : "other"}`], id: message.id, tabindex: "-1" });
  item.append(inner(message, { conversation, earlier }));
  return item;
}

const WORDS = { user: "You", assistant: "Reply", tool: "Tool", system: "System prompt" };

function question(message, { conversation }) {
  return h(
    "div",
    { class: "question" },
    hidden("You: "),
    pictures(message.images.map(({ hash }) => imageAddress(conversation, hash))),
    message.content && h("p", { class: "question-text" }, message.content),
    h("div", { class: "question-foot" }, action("edit", "pencil", "Edit", " this message"), action("cut", "trash", "Delete what follows")),
  );
}

function reply(message, { earlier }) {
  const { content, thinking, tool_calls: calls = [], outcome, error, omitted_messages: omitted } = message;
  const cut = outcome && outcome !== "done";
  return h(
    "article",
    { class: "reply", "aria-label": `Reply of ${message.model || "the model"}` },
    h("header", { class: "reply-head" }, h("h3", null, message.model || "Reply"), h("span", { class: "reply-state" }, timeNode(message.created_at))),
    earlier.length > 0 && replaced(earlier),
    thinking && new Thoughts(thinking).element,
    content && markdown(content),
    calls.length > 0 && h("div", { class: "tool-calls" }, calls.map(toolCall)),
    cut && h("p", { class: "note warning cut-short" }, icon("alert"), h("span", null, `Cut short: ${WHY[outcome] ?? outcome}${error ? ` (${error})` : ""}.`)),
    omitted > 0 && h("p", { class: "muted small" }, `The model was not shown the oldest messages (${number(omitted)}), for want of room.`),
    storedFigures(message),
    h("footer", { class: "reply-foot" }, content && copyButton(content), action("again", "refresh", "Regenerate"), action("cut", "trash", "Delete what follows")),
  );
}

function replaced(earlier) {
  const each = (one) => h("li", null, h("p", { class: "muted small" }, one.model, " ", timeNode(one.created_at)), markdown(one.content));
  return h("details", { class: "earlier" }, h("summary", { class: "muted small" }, `Earlier replies (${earlier.length})`), h("ol", { class: "earlier-replies" }, earlier.map(each)));
}

function tool(message) {
  return h("div", { class: "tool-round" }, toolResult(message.tool_name, message.content));
}

function system(message) {
  return h("details", { class: "system-prompt" }, h("summary", { class: "muted small" }, "System prompt"), h("p", { class: "as-written" }, message.content));
}

function other(message) {
  return h("div", null, h("p", { class: "muted small" }, String(message.role)), h("p", { class: "as-written" }, message.content));
}

function action(name, sign, text, more = "") {
  return h("button", { type: "button", class: "button plain small", dataset: { action: name } }, icon(sign, { size: 16 }), text, more && hidden(more));
}
