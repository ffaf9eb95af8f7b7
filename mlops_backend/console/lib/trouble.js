// What went wrong with a reply, and what can be done about it, in words for whoever reads the page.

import { clock, duration } from "./format.js";
import { hash } from "./router.js";
import { may, session } from "./session.js";

const WAIT = "Try again in a moment.";
const BY_CODE = {
  rate_limited: ["A limit of your key is reached", "Wait until it allows more, or ask for a higher limit."],
  key_queue_full: ["Too many of your requests wait already", "Wait for some of them to end."],
  key_bodies_full: ["Your requests are too large together", "Wait for some of them to end, or send fewer images."],
  model_not_found: ["The model is not there", "Choose another model."],
  forbidden: ["Your key may not do this", "Choose another model, or ask for a key that may use this one."],
  unsupported: ["The model cannot do what was asked", "Try without images, tools or thinking, or choose another model."],
  body_too_large: ["This is more than the service takes", "Send fewer or smaller images, or a shorter text."],
  validation_error: ["The request is not understood", "Look at the parameters."],
  no_usable_backend: ["No backend can answer at present", "Try again in a moment."],
  queue_timeout: ["It did not come to your turn in time", WAIT],
  draining: ["The service is being stopped", "Try again in a moment: another one may have taken its place."],
  unreachable: ["The service cannot be reached", "Look whether you are connected, and try again."],
  not_found: ["It is not there any more", "What is stored is shown."],
  stream_gone: ["The reply cannot be read on", "What is stored of it is shown."],
  stream_broken: ["The reply broke off", "What is stored of it is shown."],
  cut: ["The connection broke off", "What had come is kept. Try again."],
  backend_nonsense: ["What the backend sent is no reply", "Try again; if it stays so, tell the operator."],
  conversation_full: ["The conversation is full", "Begin another one, or delete what is not needed."],
  generation_cancelled: ["The reply was ended", "An administrator, or another page of yours, has ended it."],
  database_down: ["The database is away", "Conversations cannot be kept at present; the playground works without."],
};
const BY_STATUS = {
  400: ["The request was refused", "Look at the parameters, or choose another model."],
  401: ["You are not signed in any more", "Sign in again."],
  403: BY_CODE.forbidden,
  404: BY_CODE.model_not_found,
  413: BY_CODE.body_too_large,
  422: BY_CODE.validation_error,
  429: BY_CODE.rate_limited,
  502: ["The backend failed", "Try again; if it stays so, choose another model or tell the operator."],
  503: ["The service is busy", WAIT],
  504: ["The backend took too long", "Try again; a model that has to be loaded first is quicker the second time."],
};
const AMID = ["The reply broke off", "What had come is kept. Try again."];
const BACKENDS = new Set(["no_usable_backend", "backend_refused", "backend_unresolvable", "backend_vanished", "backend_busy"]);

/** An error as plain data that can be kept: what was said, and all that helps to find it again. */
export function troubleOf(error, requestId = null) {
  const { name, message, status = 0, code, retryAfter = null, details = null } = error;
  const known = { message, status, retryAfter, details, requestId: error.requestId ?? requestId, at: Date.now() };
  if (name === "SyntaxError") return { ...known, code: "backend_nonsense", message: "A line of the stream is not JSON." };
  if (name === "TypeError") return { ...known, code: "cut", message: "The connection to the service was lost." };
  return { ...known, code: code ?? "error" };
}

/** The object with `error` that ends a stream which failed, as an error. */
export function streamError(part, requestId) {
  const inner = part.error;
  const message = typeof inner === "string" ? inner : (inner?.message ?? "The stream ended with an error.");
  return Object.assign(new Error(message), { code: part.code ?? "amid", requestId: part.request_id ?? requestId });
}

/** A stream that ended without its last object. */
export function cutError(requestId) {
  return Object.assign(new Error("The stream ended before its last line."), { code: "cut", requestId });
}

/** What to tell: {title, said, advice, link}. */
export function explained(trouble) {
  const { code, status, message, details } = trouble;
  const [title, advice] = BY_CODE[code] ?? BY_STATUS[status] ?? AMID;
  const said = [message, ...(details ?? []).map(({ loc, msg }) => `${[loc].flat().join(".")}: ${msg}.`)].join(" ");
  return { title, said, advice: `${advice}${waiting(trouble)}`, link: further(code) };
}

function waiting({ retryAfter, at }) {
  if (!retryAfter) return "";
  return ` You can try again at ${clock(at + retryAfter * 1000)}, ${duration(retryAfter * 1000)} after it was refused.`;
}

function further(code) {
  if (code === "model_not_found" && may("models:write")) return [hash("/models"), "Pull a model"];
  if (BACKENDS.has(code) && session()?.admin) return [hash("/operations"), "Look at the backends"];
  return null;
}
