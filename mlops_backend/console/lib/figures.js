// The numbers of a reply: what the service says of it, and what this browser's clock saw.

import { duration, number } from "./format.js";

// Ollama's durations are in nanoseconds.
const NANO = 1e6;
// Of fewer pieces no speed can be told.
export const FEW = 4;

/** A stopwatch of one reply: `piece()` with every piece, `end()` at its end. */
export function stopwatch() {
  const sent = performance.now();
  let first = null;
  let last = null;
  let pieces = 0;
  return {
    piece() {
      last = performance.now();
      first ??= last;
      pieces += 1;
    },
    read() {
      const now = performance.now();
      const writing = first === null ? 0 : (last ?? now) - first;
      return { first: first === null ? null : first - sent, total: now - sent, pieces, speed: pieces < FEW ? null : rate(pieces - 1, writing) };
    },
  };
}

/** What is kept of a reply: the last object's counts, beside the stopwatch. */
export function figuresOf(last, watch) {
  const counts = {};
  for (const name of COUNTS) if (Number.isFinite(last?.[name])) counts[name] = last[name];
  return { ...watch, reason: last?.done_reason ?? null, counts };
}

/** Tokens a second: by the backend's own time, or else by this browser's. */
export function speedOf({ counts, speed }) {
  return rate(counts.eval_count, counts.eval_duration / NANO) ?? speed;
}

/** One line: [text, title] each. */
export function summaryOf(figures) {
  const { counts, first, total, pieces } = figures;
  const speed = speedOf(figures);
  const written = counts.eval_count ?? null;
  return [
    written === null ? [`≈ ${counted(pieces)}`, "As many as came; the service counted no tokens"] : [`${number(written)} tokens`, "eval_count"],
    speed && [`${number(speed, 1)} tokens/s`, counts.eval_duration ? "eval_count by eval_duration" : "By this browser's clock"],
    first !== null && [`first after ${duration(first)}`, "From sending to the first token, by this browser's clock"],
    [`${duration(total)} in all`, "By this browser's clock"],
    counts.prompt_eval_count !== undefined && [`${number(counts.prompt_eval_count)} in the prompt`, "prompt_eval_count"],
    figures.reason === "length" && ["cut at num_predict", "done_reason: length"],
  ].filter(Boolean);
}

/** All of them, for a table: [name, value, from]. */
export function tableOf(figures) {
  const { counts, first, total, pieces, reason } = figures;
  const told = COUNTS.filter((name) => counts[name] !== undefined).map((name) => [name, shown(name, counts[name]), "the service"]);
  const prompt = rate(counts.prompt_eval_count, counts.prompt_eval_duration / NANO);
  return [
    ...told,
    prompt && ["prompt tokens/s", number(prompt, 1), "the service"],
    reason && ["done_reason", reason, "the service"],
    ["to the first token", duration(first), "this browser"],
    ["in all", duration(total), "this browser"],
    ["pieces", number(pieces), "this browser"],
  ].filter(Boolean);
}

const COUNTS = ["prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration", "load_duration", "total_duration"];

function shown(name, value) {
  return name.endsWith("duration") ? duration(value / NANO) : number(value);
}

/** "1 piece", "12 pieces". */
export function counted(pieces) {
  return pieces === 1 ? "1 piece" : `${number(pieces)} pieces`;
}

function rate(count, ms) {
  return count > 0 && ms > 0 ? (count / ms) * 1000 : null;
}
