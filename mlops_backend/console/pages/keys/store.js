// The routes of keys, as the page uses them.

import { json } from "../../lib/api.js";
import { may } from "../../lib/session.js";

const KEYS = "/api/admin/keys";
const path = (id) => `${KEYS}/${encodeURIComponent(id)}`;
export const PAGE = 50;

/** A page of keys, newest first: {keys, next}. */
export const listKeys = ({ name, owner, revoked, after }, signal) =>
  json("GET", KEYS, { query: { name, owner, revoked: revoked ? "true" : null, after, newest: "true", limit: PAGE }, signal });
export const getKey = (id) => json("GET", path(id));
/** What is left: {key_id, limits: [{name, limit, most, remaining, reset_seconds}]}. */
export const getLeft = (id) => json("GET", `${path(id)}/limits`);
/** A key with its secret, which is told this once. */
export const createKey = (body) => json("POST", KEYS, { body });
export const changeKey = (id, body) => json("PATCH", path(id), { body });
export const rotateKey = (id, seconds) => json("POST", `${path(id)}/rotate`, { body: { overlap_seconds: seconds } });
export const revokeKey = (id) => json("DELETE", path(id));
export const endSessions = (id) => json("DELETE", `${path(id)}/sessions`);
export const ownKeyBody = () => json("GET", "/api/key");
export const ownLeft = () => json("GET", "/api/key/limits");

/** A model to show in examples: one that the key may use, or a word in its place. */
export async function exampleModel(models = []) {
  const named = models.find((one) => !/[*?[]/.test(one));
  if (named) return named;
  const found = may("models:read") ? await json("GET", "/api/tags").catch(() => null) : null;
  return found?.models?.[0]?.name ?? "your-model";
}
