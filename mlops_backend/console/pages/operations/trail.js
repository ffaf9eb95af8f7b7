// The last minutes of the queue as two lines; every number of them is in the tables beside it.

import { h, replace } from "../../lib/element.js";
import { number } from "../../lib/format.js";

const LENGTH = 180;
const WIDTH = 360;
const HEIGHT = 72;
const SVG = "http://www.w3.org/2000/svg";
// Kept while the console is open, so that one who comes back to the page finds the line as it was.
const points = [];

/** A picture of how many ran and waited, second by second. */
export class Trail {
  constructor() {
    this.picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "trail-picture", role: "img" });
    this.legend = h("p", { class: "legend trail-legend" });
    this.node = h("div", { class: "card trail" }, this.picture, this.legend);
    this.#draw();
  }

  add(running, waiting) {
    points.push([running, waiting]);
    if (points.length > LENGTH) points.shift();
    this.#draw();
  }

  #draw() {
    const top = Math.max(4, ...points.flat());
    const [running, waiting] = points.at(-1) ?? [0, 0];
    const lines = [0, 1].map((at) => svg("polyline", { points: points.map((point, x) => `${((x + LENGTH - points.length) / (LENGTH - 1)) * WIDTH},${HEIGHT - 2 - (point[at] / top) * (HEIGHT - 6)}`).join(" "), class: at ? "trail-waiting" : "trail-running" }));
    replace(this.picture, lines);
    this.picture.setAttribute("aria-label", `The last three minutes: ${running} run and ${waiting} wait now, at most ${most(0)} ran and ${most(1)} waited.`);
    replace(this.legend, sign("running", `${number(running)} running`), sign("waiting", `${number(waiting)} waiting`), h("span", { class: "trail-span" }, "last 3 minutes"));
  }
}

function most(at) {
  return Math.max(0, ...points.map((point) => point[at]));
}

function sign(kind, text) {
  return h("span", { class: "trail-sign" }, h("span", { class: `swatch ${kind}`, "aria-hidden": "true" }), text);
}

function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
