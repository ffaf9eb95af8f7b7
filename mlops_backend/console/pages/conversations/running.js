// A reply on its way, asked for here or found: shown as it comes, and stopped. It goes on without this page.

import { liveReply } from "./live.js";
import * as store from "./store.js";
import { objectsOf } from "./stream.js";

const LOST = "Connection lost, trying again…";
// Refusals before the message was stored.
const NOT_STORED = new Set(["precondition_failed", "conversation_full", "validation_error", "database_busy", "database_down", "csrf_token_missing", "unreachable", "body_too_large", "too_many_streams", "unavailable"]);

/**
 * One reply: `element` is its place, `text` what has come. `ask(signal)` gives its stream; or that is there, as `stream`.
 * `model` is the name of who is asked, if it is known; `announce(text)` tells whoever does not see the page.
 */
export class RunningReply {
  #leaving = new AbortController();
  #live;
  #stream;
  #ask;
  #announce;
  #isStopping = false;
  #isLost = false;
  #replyId = null;

  constructor({ model = null, stream = null, ask = null, announce }) {
    this.#live = liveReply(model, () => this.stop());
    this.#stream = stream;
    this.#ask = ask;
    this.#announce = announce;
  }

  get element() {
    return this.#live.element;
  }

  get text() {
    return this.#live.text;
  }

  /** The id of its stream, once it has one. */
  get id() {
    return this.#stream?.id ?? null;
  }

  /**
   * Show it to its end: `last` is its last object, `replyId` its id where it is stored, `trouble` what ended it but for
   * somebody here; `isStored` tells whether the message is.
   */
  async show() {
    try {
      this.#stream ??= await this.#ask(this.#leaving.signal);
      if (this.#isStopping) await this.#end();
      return { last: await this.#read(), trouble: null, isStored: true, replyId: this.#replyId };
    } catch (error) {
      const isEnded = this.#isStopping || this.#leaving.signal.aborted;
      const isStored = isEnded || this.#stream !== null || !NOT_STORED.has(error.code);
      return { last: null, trouble: isEnded ? null : error, isStored, replyId: this.#replyId };
    } finally {
      this.#live.end();
    }
  }

  /** End it for all who read it. Where that cannot be said, or when it is asked for twice, it is read no further here. */
  async stop() {
    if (this.#isStopping) {
      this.leave();
      return;
    }
    this.#isStopping = true;
    this.#live.say("Stopping…");
    if (this.#stream) await this.#end();
  }

  /** Read it no further. */
  leave() {
    this.#leaving.abort();
  }

  #read() {
    const parts = objectsOf(this.id, {
      signal: this.#leaving.signal,
      opened: ({ headers }) => (this.#replyId ??= headers.get("X-Reply-ID")),
      lost: (isLost) => this.#lost(isLost),
    });
    return this.#live.receive(parts, this.#stream.request_id);
  }

  async #end() {
    await store.endStream(this.id).catch(() => this.leave());
  }

  #lost(isLost) {
    if (isLost === this.#isLost) return;
    this.#isLost = isLost;
    this.#live.say(isLost ? LOST : null);
    this.#announce(isLost ? LOST : "Connected again.");
  }
}
