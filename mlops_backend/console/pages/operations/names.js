// Keys and backends by their names: the service tells ids and addresses where it counts, and names elsewhere.

import { h } from "../../lib/element.js";

const names = new Map();
const backends = new Map();

/** Remember how a key is called. */
export function learn(id, name) {
  if (id && name) names.set(id, name);
}

/** How a backend is called whose address is told, and its address as the title. */
export function backendName(address) {
  return address ? h("span", { title: address }, backends.get(address) ?? address) : "–";
}

/** Remember how backends are called. */
export function learnBackends(told) {
  told.forEach(({ url, name }) => backends.set(url, name));
}

/** A key's name, its id as the title; an id of the settings carries its name. */
export function keyName(id) {
  const name = names.get(id) ?? id.replace(/^settings:/, "");
  return h("span", { title: id }, name || "–");
}
