// The pulls, each with its bar.

import { progressBar } from "../../components/progress-bar.js";
import { h } from "../../lib/element.js";
import { bytes, duration } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { cancel, current, progress, pull, pulls, putAway } from "./pulls.js";

/** The list; `ended` is called when one has come whole. */
export function pullList(ended) {
  const list = h("ul", { class: "pulls" });
  const said = h("p", { class: "visually-hidden", role: "status" });
  const node = h("section", { class: "card", "aria-label": "Pulls", hidden: true }, list, said);
  const items = new Map();
  const draw = () => {
    const all = current();
    for (const [mine, item] of items) if (!all.includes(mine)) items.delete(mine) && item.node.remove();
    for (const mine of all) {
      if (!items.has(mine)) list.append(items.set(mine, itemOf(mine)).get(mine).node);
      const item = items.get(mine);
      const isNews = item.state !== mine.state;
      item.draw();
      if (!isNews || mine.state === "running") continue;
      said.textContent = wordsOf(mine);
      ended();
    }
    node.hidden = all.length === 0;
  };
  pulls.addEventListener("change", draw);
  draw();
  return { node, stop: () => pulls.removeEventListener("change", draw) };
}

function itemOf(mine) {
  const bar = progressBar(null, { label: `Pulling ${mine.model}` });
  const words = h("p", { class: "small muted pull-words" });
  const stop = button("Cancel", `Cancel pulling ${mine.model}`, () => cancel(mine));
  const again = button("Try again", `Pull ${mine.model} again`, () => pull(mine.model));
  const away = button("Dismiss", `Dismiss ${mine.model}`, () => putAway(mine));
  const mark = h("span", { class: "pull-mark" });
  const node = h("li", { class: "pull" }, h("div", { class: "row apart" }, h("span", { class: "row" }, mark, h("strong", null, mine.model)), h("span", { class: "actions" }, stop, again, away)), bar, words);
  const item = { node, state: "" };
  item.draw = () => {
    item.state = mine.state;
    const isRunning = mine.state === "running";
    node.dataset.state = mine.state;
    [stop.hidden, again.hidden, away.hidden, bar.hidden] = [!isRunning, mine.state === "done" || isRunning, isRunning, !isRunning];
    mark.replaceChildren(...(isRunning ? [] : [icon(mine.state === "done" ? "check" : mine.state === "failed" ? "alert" : "stop")]));
    bar.value = progress(mine).share;
    words.textContent = wordsOf(mine);
  };
  return item;
}

function button(text, label, onclick) {
  return h("button", { type: "button", class: "button small", "aria-label": label, onclick }, text);
}

function wordsOf(mine) {
  if (mine.state === "done") return "It is here.";
  if (mine.state === "cancelled") return "Cancelled. What was fetched is kept; another pull goes on from there.";
  if (mine.state === "failed") return mine.error;
  const { total, completed, speed } = progress(mine);
  const left = speed ? ((total - completed) / speed) * 1000 : null;
  const facts = [statusOf(mine.status), total > 0 && `${bytes(completed)} of ${bytes(total)}`, speed > 0 && `${bytes(speed)}/s`, left > 1000 && `${duration(left)} left`];
  return facts.filter(Boolean).join(" · ");
}

// Ollama names the layer by its digest, which tells nobody anything.
function statusOf(status) {
  const word = status.replace(/^(pulling|downloading) (sha256:)?[0-9a-f]{8,}.*/, "fetching");
  return word.charAt(0).toUpperCase() + word.slice(1);
}
