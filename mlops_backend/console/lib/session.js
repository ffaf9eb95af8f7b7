// Who is signed in. The key itself is sent once, in a header, and kept nowhere; the cookie is not seen by scripts.

import { address } from "./address.js";

const ROUTE = "/api/console/session";
/** Tells of "change" (signed in or out) and "ended" (by the service, with a reason as `detail`). */
export const changes = new EventTarget();
export const ENDED = "Your session has ended.";
const LEFT = "You have signed out in another tab.";
// Tabs have one cookie: what one of them does holds for all.
const tabs = new BroadcastChannel("console.session");
tabs.addEventListener("message", ({ data }) => follow(data));
let current = null;
let timer = 0;

/** The session's body: id, name, scopes, admin, models, expires_at, signed_in, version; null without one. */
export function session() {
  return current;
}

/** Whether what needs this scope may be offered; an administrator may do everything. */
export function may(scope) {
  return Boolean(current) && (current.admin || current.scopes.includes(scope));
}

/** The token that a call which changes something has to carry. */
export function csrfToken() {
  return current?.csrf_token ?? null;
}

/** Ask who is signed in; null when nobody is. The page tells whether there is anything to ask about. */
export async function loadSession() {
  const response = await fetch(address(ROUTE), { credentials: "same-origin", cache: "no-store" });
  if (response.status === 401) return keep(null);
  if (!response.ok) throw new Error(await reason(response));
  return keep(await response.json());
}

/** Whether the browser came with a cookie, be it of a session that has ended, or needs none. */
export function hadSession() {
  return document.querySelector('meta[name="session"]')?.content !== "none";
}

/** Exchange a key for a session; throws an Error that tells why not. */
export async function signIn(key) {
  const headers = { "X-API-Key": key };
  const response = await fetch(address(ROUTE), { method: "POST", headers, credentials: "same-origin" });
  if (!response.ok) throw new Error(await reason(response));
  keep(await response.json());
  changed();
}

/** End this session, or with `everywhere` all of its key. */
export async function signOut({ everywhere = false } = {}) {
  const headers = current?.csrf_token ? { "X-CSRF-Token": current.csrf_token } : {};
  const path = everywhere ? "/api/console/sessions" : ROUTE;
  const response = await fetch(address(path), { method: "DELETE", headers, credentials: "same-origin" });
  if (!response.ok && response.status !== 401) throw new Error(await reason(response));
  keep(null);
  changed();
}

function changed() {
  changes.dispatchEvent(new Event("change"));
  tabs.postMessage({ in: current !== null });
}

async function follow({ in: isIn }) {
  const before = current?.id;
  if (isIn) await loadSession().catch(() => {});
  else keep(null);
  if (before === current?.id) return;
  changes.dispatchEvent(isIn ? new Event("change") : new CustomEvent("ended", { detail: LEFT }));
}

/** A call was refused as if by nobody: if the session has ended, the sign-in page says so. */
export async function ended() {
  if (!current?.signed_in) return;
  const before = current;
  const now = await loadSession().catch(() => before);
  if (now === before) current = before;
  else if (!now) changes.dispatchEvent(new CustomEvent("ended", { detail: ENDED }));
}

function keep(body) {
  clearTimeout(timer);
  current = body?.id ? body : null;
  if (current?.expires_at) watch(new Date(current.expires_at));
  return current;
}

// A session that has run out is noticed without a call, so that no figures stay on a screen that nobody watches.
function watch(expiry) {
  const left = expiry.getTime() - Date.now() + 1000;
  if (left < 2 ** 31) timer = setTimeout(ended, Math.max(left, 1000));
}

async function reason(response) {
  const body = await response.json().catch(() => ({}));
  const text = body?.error?.message ?? body?.error;
  return typeof text === "string" && text ? text : `The service answered ${response.status}.`;
}
