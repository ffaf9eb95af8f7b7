// Calls of the service's API, as the session's key may make them.

import { address } from "./address.js";
import { csrfToken, ended } from "./session.js";

/** An answer that is an error: its status (0 when nothing answered), code, the sentence for a reader, and its id. */
export class ApiError extends Error {
  constructor(status, code, message, { requestId = null, retryAfter = null, details = null } = {}) {
    super(message);
    Object.assign(this, { name: "ApiError", status, code, requestId, retryAfter, details });
  }
}

/** Call a route; `body` may be an object (sent as JSON), FormData, a Blob or text. Throws ApiError. */
export async function call(method, path, { body, query, headers = {}, signal } = {}) {
  const request = { method, signal, headers: { ...headers }, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) setBody(request, body);
  const token = csrfToken();
  if (token && !["GET", "HEAD"].includes(method)) request.headers["X-CSRF-Token"] = token;
  const response = await send(address(path, query), request);
  if (response.ok) return response;
  const error = await errorOf(response);
  if (error.status === 401) await ended();
  throw error;
}

/** Call a route and read its JSON; null when the answer has no body. */
export async function json(method, path, options) {
  const response = await call(method, path, options);
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

/** The objects of an NDJSON stream, one by one; an error inside it is yielded like any other. */
export async function* lines(method, path, options) {
  const response = await call(method, path, options);
  yield* objects(response);
}

/** The objects of an answer that is read line by line; leaving the loop ends the request. */
export async function* objects(response) {
  for await (const line of textLines(response)) if (line.trim()) yield JSON.parse(line);
}

/** The lines of an answer, as they come; leaving the loop ends the request. */
export async function* textLines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const parts = (rest + (value ?? "")).split("\n");
      rest = parts.pop();
      yield* parts;
      if (done && rest) yield rest;
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** An error as the API writes it in any of its dialects: {code, message, requestId}. */
export function errorIn(body) {
  const inner = body?.error;
  const message = typeof inner === "string" ? inner : inner?.message;
  return {
    code: body?.code ?? inner?.code ?? inner?.type ?? "error",
    message: typeof message === "string" ? message : "",
    requestId: body?.request_id ?? null,
    details: body?.details ?? null,
  };
}

function setBody(request, body) {
  const plain = !(body instanceof FormData || body instanceof Blob || typeof body === "string");
  request.body = plain ? JSON.stringify(body) : body;
  if (plain) request.headers["Content-Type"] ??= "application/json";
}

async function send(url, request) {
  try {
    return await fetch(url, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "The service cannot be reached.");
  }
}

async function errorOf(response) {
  const body = await response.json().catch(() => null);
  const { code, message, requestId, details } = errorIn(body);
  return new ApiError(response.status, code, message || `The service answered ${response.status}.`, {
    requestId: requestId ?? response.headers.get("X-Request-ID"),
    retryAfter: Number(response.headers.get("Retry-After")) || null,
    details,
  });
}
