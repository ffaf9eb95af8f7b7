// The conversations API (docs/conversations.md), as the page uses it.

import { call, json } from "../../lib/api.js";
import { address } from "../../lib/address.js";

const ROUTE = "/api/database/conversations";

/** A page of the list; `after` continues it, `search` narrows it. */
export function list({ search, after, signal }) {
  return json("GET", ROUTE, { query: { limit: 30, search, after }, signal });
}

/** One, with its messages; replies that were replaced stand before the one in their place. */
export function readOne(id, signal) {
  return json("GET", `${ROUTE}/${id}`, { query: { replaced: "true" }, signal });
}

export function create(body = {}) {
  return json("POST", ROUTE, { body });
}

export function rename(id, title) {
  return json("PATCH", `${ROUTE}/${id}`, { body: { title } });
}

export function remove(id) {
  return call("DELETE", `${ROUTE}/${id}`);
}

/** Cut off what stands behind a message; `null`: all. */
export function truncate({ id, version }, after) {
  return json("POST", `${ROUTE}/${id}/truncate`, { body: { after }, headers: only(version) });
}

export function append({ id, version }, messages) {
  return json("POST", `${ROUTE}/${id}/append`, { body: { messages }, headers: only(version) });
}

/** Ask for a reply, to a new message or (`again`) to the last one; its generation can be found by the conversation's id. */
export function ask({ id, version }, body, { again = false, signal }) {
  const headers = { ...only(version), "X-Request-ID": `${id}.${crypto.getRandomValues(new Uint32Array(1))[0].toString(16)}` };
  return call("POST", `${ROUTE}/${id}/${again ? "regenerate" : "messages"}`, { body, headers, signal });
}

/** The ids of the generations that write a reply in this conversation at present, here or in another tab. */
export async function writing(id, signal) {
  const { generations } = await json("GET", "/api/llm/generations", { signal });
  return generations.map((one) => one.id).filter((one) => one.startsWith(`${id}.`));
}

export function endWriting(requestId) {
  return call("DELETE", `/api/llm/generations/${requestId}`);
}

export async function importFile(file) {
  const { conversations } = await json("POST", `${ROUTE}/import`, { body: file, headers: { "Content-Type": "application/json" } });
  return conversations;
}

/** Where one, or all (without an id), can be downloaded from. */
export function exportAddress(format, id = null) {
  return address(id ? `${ROUTE}/${id}/export` : `${ROUTE}/export`, { format });
}

export function imageAddress(id, hash) {
  return address(`${ROUTE}/${id}/images/${hash}`);
}

/** An image of a message in base64, to be sent once more. */
export async function imageData(id, hash) {
  const response = await call("GET", `${ROUTE}/${id}/images/${hash}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

// Somebody may have gone on in another tab.
function only(version) {
  return version ? { "If-Match": `"${version}"` } : {};
}
