// What is on the page: the draft, the settings, and what was said. A reload shows it again; another tab or key does not.

import { changes, session } from "../../lib/session.js";

const PREFIX = "console.playground.";

// Whoever signs out leaves nothing; of a session that ended by itself the draft is there when its key comes back.
changes.addEventListener("change", () => {
  if (session()) return;
  for (const one of Object.keys(sessionStorage)) if (one.startsWith(PREFIX)) sessionStorage.removeItem(one);
});

/**
 * A draft: {text, images, models, settings, turns, kept}.
 * A turn: {content, images, replies: [one for each model that was asked, or nothing]}.
 * A reply: {model, rounds}; a round: {body, message, state, trouble, figures, requestId, results}, where `results` are
 * what the person says that the tools answered; state: "running", "done", "stopped" or "failed".
 */
export function emptyDraft() {
  return { text: "", images: [], models: [], settings: {}, turns: [], kept: [] };
}

/** The draft of this tab and key. */
export function loadDraft() {
  try {
    return settled({ ...emptyDraft(), ...JSON.parse(sessionStorage.getItem(name()) ?? "{}") });
  } catch {
    return emptyDraft();
  }
}

/** Keep it; of one that is too large for the browser, as much as fits. */
export function saveDraft(draft) {
  if (!session()) return;
  const smaller = [draft, { ...draft, images: [], turns: draft.turns.map(light) }, { ...draft, images: [], turns: [], kept: [] }];
  for (const one of smaller) if (put(one)) return;
}

/** The messages of what was said, up to a turn, as the model of a lane is shown them. */
export function historyOf(turns, lane) {
  return turns.flatMap((turn) => [questionOf(turn), ...repliesOf(turn.replies[lane] ?? turn.replies.find(Boolean))]);
}

/** The message of a turn. */
export function questionOf({ content, images }) {
  return { role: "user", content, ...(images.length && { images: images.map(({ data }) => data) }) };
}

function repliesOf(reply) {
  return (reply?.rounds ?? []).flatMap(({ message, results }) => [answer(message), ...results].filter(Boolean));
}

// Thoughts are told to a model only where they led to a call of a tool; of a reply that never came nothing is said.
function answer({ content, thinking, tool_calls: calls }) {
  if (calls.length) return { role: "assistant", content, ...(thinking && { thinking }), tool_calls: calls };
  return content ? { role: "assistant", content } : null;
}

function settled(draft) {
  for (const reply of draft.turns.flatMap(({ replies }) => replies)) {
    for (const round of reply?.rounds ?? []) if (round.state === "running") round.state = "stopped";
  }
  return draft;
}

function light(turn) {
  return { ...turn, images: [], replies: turn.replies.map((reply) => reply && { ...reply, rounds: reply.rounds.map((round) => ({ ...round, body: null })) }) };
}

function put(draft) {
  try {
    sessionStorage.setItem(name(), JSON.stringify(draft));
    return true;
  } catch {
    return false;
  }
}

function name() {
  return PREFIX + (session()?.id ?? "");
}
