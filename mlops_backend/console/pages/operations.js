// Operations: what runs, what waits, where, and what failed. An ordinary key sees its own.

import { liveState } from "../components/live-state.js";
import { pageHeader } from "../components/page-header.js";
import { live } from "../lib/live.js";
import { may, session } from "../lib/session.js";
import { useStyles } from "../lib/styles.js";
import { backendsSection } from "./operations/backends.js";
import { errorsSection } from "./operations/errors.js";
import { queueSection } from "./operations/queue.js";
import { runningSection } from "./operations/running.js";
import { tilesSection } from "./operations/tiles.js";

const TICK = 1000;

export default class OperationsPage extends HTMLElement {
  #stops = [];
  #timer = 0;

  async connectedCallback() {
    await useStyles("operations.css");
    if (!this.isConnected || this.firstChild) return;
    const { admin } = session();
    const sees = may("usage:read");
    const tiles = tilesSection({ admin, sees });
    const parts = [tiles, admin && backendsSection(), queueSection({ admin }), runningSection({ admin }), sees && errorsSection({ admin, changed: tiles.failures })].filter(Boolean);
    const description = admin ? "Backends, the queue, what runs now and what failed." : "Your generations: those that run, those that wait, and those that failed.";
    this.className = "stack operations";
    this.append(pageHeader("Operations", { description, actions: [liveState()] }), ...parts.map((part) => part.node));
    this.#hear(parts);
    parts.forEach((part) => part.start?.());
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
    this.#stops.forEach((stop) => stop());
    this.#stops = [];
    this.replaceChildren();
  }

  #hear(parts) {
    for (const part of parts) {
      for (const [kind, heard] of Object.entries(part.hears)) this.#stops.push(live(kind, heard));
    }
    this.#timer = setInterval(() => parts.forEach((part) => part.tick?.()), TICK);
  }
}
