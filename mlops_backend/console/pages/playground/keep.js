// "Keep this conversation": what was said is stored by the conversations API; kept again, what is new is put behind.

import { json } from "../../lib/api.js";
import { questionOf } from "./draft.js";

const ROUTE = "/api/database/conversations";

/** Store what one lane has seen; `kept` is what a call before returned: {id, version, messages}. */
export async function keep({ turns, lane, model, settings, title, kept }) {
  const messages = storedOf(turns, lane, settings);
  const grown = await appended(messages, kept);
  if (grown) return grown;
  const { id, version } = await json("POST", ROUTE, { body: { model, messages, ...(title && { title }) } });
  return { id, version, messages: messages.map(mark) };
}

// Only if all that is there stands at the beginning of what is said now, and nobody has gone on in it.
async function appended(messages, kept) {
  if (!kept || kept.messages.some((one, at) => !messages[at] || one !== mark(messages[at]))) return null;
  const added = messages.slice(kept.messages.length);
  if (!added.length) return kept;
  try {
    const headers = { "If-Match": `"${kept.version}"` };
    const { version } = await json("POST", `${ROUTE}/${kept.id}/append`, { body: { messages: added }, headers });
    return { id: kept.id, version, messages: messages.map(mark) };
  } catch (error) {
    if (error.status === 404 || error.status === 412) return null;
    throw error;
  }
}

function storedOf(turns, lane, settings) {
  const system = settings.system?.trim() ? [{ role: "system", content: settings.system }] : [];
  return [...system, ...turns.flatMap((turn) => [questionOf(turn), ...saidOf(turn.replies[lane] ?? turn.replies.find(Boolean))])];
}

function saidOf(reply) {
  return (reply?.rounds ?? []).flatMap(({ message, results }) => {
    const { content, thinking, tool_calls: calls } = message;
    const said = content || thinking || calls.length;
    const answer = { role: "assistant", content, ...(thinking && { thinking }), ...(calls.length && { tool_calls: calls }) };
    return [...(said ? [answer] : []), ...results];
  });
}

// A message's images are many bytes; their lengths are enough to tell one from another.
function mark(message) {
  return JSON.stringify({ ...message, images: (message.images ?? []).map(({ length }) => length) });
}
