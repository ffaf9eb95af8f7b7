// Elements are made here, and text is always text: nothing is ever parsed as markup.

const PLAIN = Object.prototype;

/**
 * h("a", {class: "x", href: "#/keys", onclick: f, ".value": v, dataset: {id: 1}, style: {width: "3px"}}, "text", [more])
 * A property of null or false is left out, of true is a boolean attribute. Children may be nodes, text, numbers or lists.
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  if (isProps(props)) set(element, props);
  else children.unshift(props);
  element.append(...nodes(children));
  return element;
}

/** Set what `h` sets, on an element that is there. */
export function set(element, props) {
  for (const [name, value] of Object.entries(props)) setOne(element, name, value);
  return element;
}

/** Put these in place of all that the node holds. */
export function replace(node, ...children) {
  node.replaceChildren(...nodes(children));
  return node;
}

/** Flatten lists, drop what is null or false; text stays text. */
export function nodes(children) {
  return children.flat(Infinity).filter((child) => child != null && child !== false && child !== true);
}

function isProps(props) {
  return props != null && typeof props === "object" && Object.getPrototypeOf(props) === PLAIN;
}

function setOne(element, name, value) {
  if (name.startsWith(".")) element[name.slice(1)] = value;
  else if (name.startsWith("on") && typeof value === "function") element.addEventListener(name.slice(2), value);
  else if (name === "dataset") Object.assign(element.dataset, value);
  else if (name === "style") Object.entries(value).forEach(([key, one]) => element.style.setProperty(key, one));
  else if (name === "class") element.className = [value].flat().filter(Boolean).join(" ");
  else if (value == null || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? (name.startsWith("aria-") ? "true" : "") : value);
}

let counter = 0;
/** An id that no other element has. */
export function uniqueId(prefix = "id") {
  counter += 1;
  return `${prefix}-${counter}`;
}

/** A text that a screen reader alone is told. */
export function hidden(text) {
  return h("span", { class: "visually-hidden" }, text);
}
