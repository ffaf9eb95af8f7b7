// Libraries that were installed beside the service; the page names those files that are there, so that nothing is asked for
// in vain.

import { load } from "./styles.js";

const NAMES = (document.querySelector('meta[name="libraries"]')?.content ?? "").split(" ").filter(Boolean);
const kept = new Map();

/** Markdown to HTML: the module of `marked`, or null. */
export const marked = () => once(/^marked.*js$/, (module) => module);

/** The sanitizer: DOMPurify, or null. */
export const purify = () => once(/purify.*js$/, (module) => module.default);

/** Charts: uPlot with its style sheet, or null. */
export async function uplot() {
  const sheet = NAMES.find((name) => /^uplot.*css$/i.test(name));
  if (sheet && !kept.has(sheet)) kept.set(sheet, load(vendor(sheet)));
  await kept.get(sheet);
  return once(/^uplot.*js$/i, (module) => module.default);
}

function once(pattern, choose) {
  const name = NAMES.find((one) => pattern.test(one));
  if (!name) return Promise.resolve(null);
  if (!kept.has(name)) kept.set(name, import(vendor(name)).then(choose, () => null));
  return kept.get(name);
}

function vendor(name) {
  return new URL(`../vendor/${name}`, import.meta.url).href;
}
