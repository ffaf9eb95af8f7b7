// The conversations API (docs/conversations.md), as the page uses it.

import { call, json } from "../../lib/api.js";
import { address } from "../../lib/address.js";

const ROUTE = "/api/database/conversations";
const STREAMS = "/api/llm/streams";
const AGAIN = "regenerate";

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

/** Ask for a reply, to a new message or (`again`) to the last one; the stream on which it comes, whoever reads that. */
export function ask({ id, version }, body, { again = false, signal }) {
  return json("POST", `${ROUTE}/${id}/${again ? AGAIN : "messages"}`, { body, headers: { ...only(version), Prefer: "respond-async" }, signal });
}

/** The streams on which replies to this conversation come at present, the oldest first; none where nobody can tell. */
export async function running(id, signal) {
  const { streams } = await json("GET", STREAMS, { signal }).catch(() => ({ streams: [] }));
  return streams.filter((one) => one.conversation_id === id && one.outcome === null);
}

/** Whether what comes takes the place of the last reply. */
export function isAgain({ route }) {
  return route.endsWith(`/${AGAIN}`);
}

export function endStream(id) {
  return call("DELETE", `${STREAMS}/${id}`);
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
