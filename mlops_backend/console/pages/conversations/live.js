// A reply that is being written, as it comes.

import { Thoughts, liveLine, toolCall } from "../../components/chat-parts.js";
import "../../components/x-markdown.js";
import { h } from "../../lib/element.js";
import { stopwatch } from "../../lib/figures.js";
import { icon } from "../../lib/icons.js";
import { cutError, streamError } from "../../lib/trouble.js";

const TICK = 250;
const WRITING = "Writing…";

/**
 * The place of a reply that is coming, of a model whose name its objects tell if nobody else does: `receive(parts)`
 * fills it and returns the last of them, `say(text)` tells how it goes (null: well), `end()` is for when nothing comes.
 */
export function liveReply(model, stop) {
  const thoughts = new Thoughts("", { live: true });
  const text = h("x-markdown");
  const calls = h("div", { class: "tool-calls" });
  const line = h("p", { class: "figures-line" });
  const halt = h("button", { type: "button", class: "button plain small", onclick: stop }, icon("stop", { size: 16 }), "Stop");
  const name = h("h3");
  const state = h("span", { class: "reply-state" }, WRITING);
  const head = h("header", { class: "reply-head" }, name, state, halt);
  const body = h("div", { class: "round", "aria-busy": "true" }, thoughts.element, text, calls, line);
  const article = h("article", { class: "reply" }, head, body);
  const element = h("li", { class: "message is-assistant is-live" }, article);
  const watch = stopwatch();
  const ticking = setInterval(() => liveLine(line, watch.read()), TICK);

  function call(told) {
    name.textContent = told || "Reply";
    article.setAttribute("aria-label", `Reply of ${told || "the model"}`);
  }

  function take({ content = "", thinking = "", tool_calls: called = [] }) {
    if (!content && !thinking && !called.length) return;
    watch.piece();
    if (thinking) thoughts.grow(thinking);
    else thoughts.settle(watch.read());
    if (content) text.grow(content);
    calls.append(...called.map(toolCall));
  }

  call(model);
  return {
    element,
    get text() {
      return text.text;
    },
    say(text) {
      state.textContent = text ?? WRITING;
    },
    async receive(parts, requestId) {
      let last = null;
      for await (const part of parts) {
        if (part.error !== undefined) throw streamError(part, requestId);
        if (!model && part.model) call((model = part.model));
        take(part.message ?? {});
        if (part.done) last = part;
      }
      if (!last) throw cutError(requestId);
      return last;
    },
    end() {
      clearInterval(ticking);
      text.finish();
      state.textContent = "";
      halt.remove();
      body.removeAttribute("aria-busy");
    },
  };
}
