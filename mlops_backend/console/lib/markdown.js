// Markdown to nodes, by marked and DOMPurify. Markup inside is text, links leave the page, no image is ever fetched.

import { copyButton } from "../components/copy-button.js";
import { h } from "./element.js";
import { marked, purify } from "./libraries.js";

const CLEAN = {
  ALLOWED_TAGS: "a blockquote br code del em h3 h4 h5 h6 hr img li ol p pre strong table tbody td th thead tr ul".split(" "),
  ALLOWED_ATTR: ["align", "alt", "class", "href", "src", "start", "title"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const PICTURE = /^data:image\/(png|jpeg|gif|webp);base64,[a-z0-9+/=\s]*$/i;
const LANGUAGE = /^language-([\w+#.-]+)$/;
// What stands above a text in the page's outline: its first heading is one level below.
const ABOVE = 2;
const LOWEST = 6;
let ready = null;

/**
 * Both libraries, as `blocks(text)` and `fragment(block)`; null where one was not installed, and a text is then shown as
 * it is written.
 */
export function markdown() {
  ready ??= Promise.all([marked(), purify()]).then(([reader, cleaner]) => (reader && cleaner ? together(reader, cleaner) : null));
  return ready;
}

/** Give a heading its level in the page: never two below the one before. Returns the level of the last heading. */
export function levelled(block, before = ABOVE) {
  if (block.type !== "heading") return before;
  block.level = Math.min(block.depth + ABOVE, before + 1, LOWEST);
  return block.level;
}

function together(reader, cleaner) {
  const own = new reader.Marked({ gfm: true, breaks: true });
  own.use({ renderer: RENDERER });
  return {
    // The blocks of a text, each with its `raw`; `links` are the addresses that stand apart from their links.
    blocks: (text) => own.lexer(text),
    fragment: (block) => finished(cleaner.sanitize(own.parser([block]), CLEAN)),
  };
}

const RENDERER = {
  html({ text, block }) {
    return block ? `<p>${escaped(text.trim())}</p>` : escaped(text);
  },
  checkbox({ checked }) {
    return checked ? "☑ " : "☐ ";
  },
  heading({ tokens, level }) {
    const text = this.parser.parseInline(tokens);
    return level ? `<h${level}>${text}</h${level}>` : `<p><strong>${text}</strong></p>`;
  },
  image({ href, text }) {
    if (!PICTURE.test(href)) return escaped(`${text || "image"} (${href})`);
    return `<img src="${escaped(href)}" alt="${escaped(text || "image")}">`;
  },
};

function escaped(text) {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

// The fragment belongs to a document without scripts, which fetches nothing; only what may stay comes into this one.
function finished(fragment) {
  for (const image of fragment.querySelectorAll("img")) if (!PICTURE.test(image.getAttribute("src") ?? "")) image.remove();
  for (const link of fragment.querySelectorAll("a")) outwards(link);
  for (const one of fragment.querySelectorAll("[class]")) if (!LANGUAGE.test(one.className)) one.removeAttribute("class");
  for (const item of fragment.querySelectorAll("li")) if (/^\s*[☑☐]/.test(item.textContent)) item.className = "task";
  document.adoptNode(fragment);
  for (const block of fragment.querySelectorAll("pre")) frameCode(block);
  for (const table of fragment.querySelectorAll("table")) frameTable(table);
  return fragment;
}

function outwards(link) {
  if (!link.hasAttribute("href")) link.replaceWith(...link.childNodes);
  else Object.assign(link, { target: "_blank", rel: "noopener noreferrer nofollow" });
}

function frameCode(block) {
  const language = block.querySelector("code")?.className.match(LANGUAGE)?.[1] ?? "";
  const frame = h("figure", { class: "code-block" });
  block.replaceWith(frame);
  // What may have to be scrolled is reached by the keyboard.
  block.tabIndex = 0;
  block.setAttribute("role", "group");
  block.setAttribute("aria-label", language ? `Code: ${language}` : "Code");
  const copy = copyButton(() => block.textContent, { compact: true, label: "Copy code" });
  frame.append(h("figcaption", null, h("span", null, language || "code"), copy), block);
}

function frameTable(table) {
  for (const head of table.querySelectorAll("th")) head.scope = "col";
  const frame = h("div", { class: "table-scroll", tabindex: "0", role: "group", "aria-label": "Table" });
  table.replaceWith(frame);
  frame.append(table);
}
