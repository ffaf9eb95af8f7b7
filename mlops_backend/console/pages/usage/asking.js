// One question after the other, since a key has one turn at a time; an answer that comes too late is thrown away.

/** Runs questions in their order. */
export class Asking {
  #running = new Map();
  #last = Promise.resolve();

  /** Ask: `question(signal)` when its turn comes, then `told(answer)` or `failed(error)`. One of the same name ends the one before. */
  ask(name, question, told, failed) {
    this.#running.get(name)?.abort();
    const control = new AbortController();
    this.#running.set(name, control);
    const run = async () => {
      if (control.signal.aborted) return;
      try {
        const answer = await question(control.signal);
        if (!control.signal.aborted) told(answer);
      } catch (error) {
        if (!control.signal.aborted) failed(error);
      }
    };
    this.#last = this.#last.then(run);
  }

  /** End them all. */
  end() {
    for (const control of this.#running.values()) control.abort();
  }
}
