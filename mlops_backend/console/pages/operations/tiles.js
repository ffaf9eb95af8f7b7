// The figures at a glance.

import { h } from "../../lib/element.js";
import { number } from "../../lib/format.js";

/** Tiles; hears of everything that they count. */
export function tilesSection({ admin, sees }) {
  const running = tile(admin ? "Running" : "Yours that run");
  const waiting = tile(admin ? "Waiting" : "Yours that wait");
  const third = tile(admin ? "Backends up" : "Waiting in all");
  const failed = tile(admin ? "Failed lately" : "Yours that failed lately");
  const node = h("dl", { class: "tiles" }, running.node, waiting.node, third.node, sees && failed.node);
  const hears = {
    generations: (told) => {
      const queued = told.generations.filter((one) => one.state === "queued").length;
      running.show(number(Math.max(told.count - queued, 0)));
      if (!admin) waiting.show(number(queued));
    },
    queue: (told) => {
      if (admin) waiting.show(number(told.waiting), `of ${number(told.max_waiting)}`);
      else third.show(number(told.waiting), `of ${number(told.max_waiting)}`);
    },
  };
  if (admin) {
    hears.backends = (told) => {
      const up = told.backends.filter((one) => one.reachable).length;
      third.show(number(up), `of ${number(told.backends.length)}`);
      third.node.classList.toggle("bad", up < told.backends.length);
    };
  }
  // How many of those that are listed: there may have been more.
  const failures = (listed, isAll) => {
    const recent = listed.filter((one) => Date.now() - new Date(one.ended_at) < HOUR).length;
    failed.show(`${number(recent)}${isAll || recent < listed.length ? "" : "+"}`, "in the last hour");
    failed.node.classList.toggle("bad", recent > 0);
  };
  return { node, hears, failures };
}

const HOUR = 3_600_000;

function tile(label) {
  const figure = h("span", null, "–");
  const beside = h("span", { class: "tile-beside" });
  const node = h("div", { class: "tile" }, h("dt", null, label), h("dd", null, figure, beside));
  const show = (text, more = "") => {
    figure.textContent = text;
    beside.textContent = more && ` ${more}`;
  };
  return { node, show };
}
