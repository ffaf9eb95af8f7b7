// A reply that is being written, as it comes.

import { Thoughts, liveLine, toolCall } from "../../components/chat-parts.js";
import "../../components/x-markdown.js";
import { objects } from "../../lib/api.js";
import { h } from "../../lib/element.js";
import { stopwatch } from "../../lib/figures.js";
import { icon } from "../../lib/icons.js";
import { cutError, streamError } from "../../lib/trouble.js";

const TICK = 250;

/** The place of a reply that is coming; `receive(response)` fills it, and returns the stream's last object. */
export function liveReply(model, stop) {
  const thoughts = new Thoughts("", { live: true });
  const text = h("x-markdown");
  const calls = h("div", { class: "tool-calls" });
  const line = h("p", { class: "figures-line" });
  const halt = h("button", { type: "button", class: "button plain small", onclick: stop }, icon("stop", { size: 16 }), "Stop");
  const head = h("header", { class: "reply-head" }, h("h3", null, model || "Reply"), h("span", { class: "reply-state" }, "Writing…"), halt);
  const body = h("div", { class: "round", "aria-busy": "true" }, thoughts.element, text, calls, line);
  const element = h("li", { class: "message is-assistant is-live" }, h("article", { class: "reply", "aria-label": `Reply of ${model || "the model"}` }, head, body));
  const watch = stopwatch();
  const ticking = setInterval(() => liveLine(line, watch.read()), TICK);

  function take({ content = "", thinking = "", tool_calls: called = [] }) {
    if (!content && !thinking && !called.length) return;
    watch.piece();
    if (thinking) thoughts.grow(thinking);
    else thoughts.settle(watch.read());
    if (content) text.grow(content);
    calls.append(...called.map(toolCall));
  }

  return {
    element,
    get text() {
      return text.text;
    },
    async receive(response) {
      const requestId = response.headers.get("X-Request-ID");
      let last = null;
      for await (const part of objects(response)) {
        if (part.error !== undefined) throw streamError(part, requestId);
        take(part.message ?? {});
        if (part.done) last = part;
      }
      if (!last) throw cutError(requestId);
      return last;
    },
    end() {
      clearInterval(ticking);
      text.finish();
    },
  };
}
