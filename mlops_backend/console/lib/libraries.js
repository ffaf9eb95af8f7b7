// Libraries that were installed beside the service; the page names those that are there, so that nothing is asked for in
// vain: `vendor/<name>.js`, and uPlot's style sheet beside it.

import { load } from "./styles.js";

const NAMES = (document.querySelector('meta[name="libraries"]')?.content ?? "").split(" ").filter(Boolean);
const CHARTS = /^uplot/i;
const kept = new Map();

/** Markdown to HTML: the module of `marked`, or null. */
export const marked = () => once(/^marked/, (module) => module);

/** The sanitizer: DOMPurify, or null. */
export const purify = () => once(/purify/, (module) => module.default);

/** Charts: uPlot with its style sheet, or null. */
export async function uplot() {
  const name = NAMES.find((one) => CHARTS.test(one));
  if (name && !kept.has("sheet")) kept.set("sheet", load(vendor(`${name}.css`)));
  await kept.get("sheet");
  return once(CHARTS, (module) => module.default);
}

function once(pattern, choose) {
  const name = NAMES.find((one) => pattern.test(one));
  if (!name) return Promise.resolve(null);
  if (!kept.has(name)) kept.set(name, import(vendor(`${name}.js`)).then(choose, () => null));
  return kept.get(name);
}

function vendor(name) {
  return new URL(`../vendor/${name}`, import.meta.url).href;
}
