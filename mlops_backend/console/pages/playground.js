// The playground: a model is tried here. One prompt, one model or two, every parameter, and the numbers of each reply.

import { toast } from "../components/toast-list.js";
import { empty, failure, loading } from "../components/empty-state.js";
import { pageHeader } from "../components/page-header.js";
import "../components/prompt-box.js";
import { h, replace } from "../lib/element.js";
import { follow } from "../lib/follow.js";
import { icon } from "../lib/icons.js";
import { hash } from "../lib/router.js";
import { may } from "../lib/session.js";
import { useStyles } from "../lib/styles.js";
import { emptyDraft, historyOf, loadDraft, saveDraft } from "./playground/draft.js";
import { examples } from "./playground/examples.js";
import { keep } from "./playground/keep.js";
import { listModels } from "./playground/models.js";
import "./playground/settings-panel.js";
import { requestOf } from "./playground/settings.js";
import "./playground/turn.js";

const wide = matchMedia("(min-width: 64rem)");
const LANES = 2;

export default class Playground extends HTMLElement {
  #draft = emptyDraft();
  #models = [];
  #follow = null;
  #saving = 0;
  #leaving = () => this.#save();

  async connectedCallback() {
    this.#draft = loadDraft();
    addEventListener("pagehide", this.#leaving);
    replace(this, loading("Looking for models…"));
    await Promise.all([useStyles("playground.css"), this.#look()]);
  }

  disconnectedCallback() {
    removeEventListener("pagehide", this.#leaving);
    this.#follow?.end();
    this.#save();
  }

  async #look() {
    try {
      this.#models = await listModels();
    } catch (error) {
      if (this.isConnected) replace(this, pageHeader("Playground"), failure(error, { title: "The models cannot be listed", again: () => this.#look() }));
      return;
    }
    if (!this.isConnected) return;
    if (this.#models?.length === 0) replace(this, pageHeader("Playground"), this.#nothing());
    else this.#show();
  }

  #nothing() {
    const look = h("button", { type: "button", class: "button", onclick: () => this.#look() }, icon("refresh"), "Look again");
    const pull = may("models:write") && h("a", { class: "button primary", href: hash("/models") }, "Pull a model");
    const text = may("models:write") ? "Pull one, and try it here." : "As soon as the operator has one for your key, you can try it here.";
    return empty("There is no model yet", text, { actions: [pull, look].filter(Boolean) });
  }

  #show() {
    this.#choose();
    this.announcement = h("p", { class: "visually-hidden", role: "status" });
    this.thread = h("div", { class: "thread" });
    this.pickers = h("div", { class: "pickers" });
    this.prompt = h("prompt-box", { ".placeholder": "Ask something", onsend: () => this.#send(), onstop: () => this.#stop(), onchange: () => this.#changed() });
    this.settings = h("play-settings", { ".settings": this.#draft.settings, onchange: () => this.#changed() });
    const fold = h("details", { class: "settings", open: wide.matches }, h("summary", null, icon("settings"), "Settings"), this.settings);
    const main = h("div", { class: "play-main" }, this.pickers, this.thread, this.prompt, this.announcement);
    replace(this, this.#header(), h("div", { class: "play" }, main, h("section", { class: "play-side", "aria-label": "Settings" }, fold)));
    this.prompt.text = this.#draft.text;
    this.prompt.images = this.#draft.images;
    this.prompt.takes(this);
    this.addEventListener("settled", (event) => this.#settled(event));
    this.addEventListener("again", (event) => this.#again(event.target));
    this.addEventListener("results", (event) => this.#goOn(event.target));
    this.addEventListener("edited", (event) => this.#edited(event));
    this.#drawPickers();
    this.#drawThread();
    this.#follow = follow(this.thread);
    this.#follow.begin();
    if (this.#draft.turns.length) this.#follow.toEnd();
    if (wide.matches) this.prompt.focus();
  }

  #header() {
    this.keeping = h("button", { type: "button", class: "button", onclick: () => this.#keep() }, icon("download"), "Keep this conversation");
    this.fresh = h("button", { type: "button", class: "button", onclick: () => this.#begin() }, icon("plus"), "New");
    return pageHeader("Playground", { description: "Try a model, or two side by side.", actions: [this.keeping, this.fresh] });
  }

  // What was chosen before, as long as it is there; else what is loaded already.
  #choose() {
    if (!this.#models) return;
    const names = this.#models.map(({ name }) => name);
    const chosen = this.#draft.models.filter((name) => names.includes(name)).slice(0, LANES);
    this.#draft.models = chosen.length ? chosen : [names[0]];
  }

  #drawPickers() {
    const { models } = this.#draft;
    const isTwo = models.length > 1;
    const pick = (name, at) => {
      const picker = h("model-picker", { ".models": this.#models, ".value": name, ".label": isTwo ? `Model ${at + 1}` : "Model" });
      picker.addEventListener("change", () => this.#picked(at, picker.value));
      return picker;
    };
    const text = isTwo ? "One model" : "Compare two";
    const compare = h("button", { type: "button", class: "button compare", onclick: () => this.#compare() }, icon(isTwo ? "close" : "plus", { size: 16 }), text);
    replace(this.pickers, (models.length ? models : [""]).map(pick), compare);
  }

  #picked(at, name) {
    this.#draft.models[at] = name;
    this.#changed();
  }

  #compare() {
    const { models } = this.#draft;
    const other = this.#models?.find(({ name }) => name !== models[0])?.name ?? models[0] ?? "";
    this.#draft.models = models.length > 1 ? models.slice(0, 1) : [models[0] ?? "", other];
    this.#drawPickers();
    this.pickers.querySelector("button.compare").focus();
    this.#changed();
  }

  get #turns() {
    return [...this.thread.querySelectorAll("play-turn")];
  }

  get #running() {
    return this.#turns.flatMap(({ replies }) => replies).filter(({ running }) => running);
  }

  #drawThread() {
    const { turns } = this.#draft;
    replace(this.thread, turns.length ? turns.map((turn) => h("play-turn", { ".turn": turn })) : examples((text) => this.#example(text)));
    this.#update();
  }

  #update() {
    const isRunning = this.#running.length > 0;
    this.#turns.forEach((turn, at, all) => (turn.last = at === all.length - 1));
    this.prompt.busy = isRunning;
    this.keeping.disabled = isRunning || this.#draft.turns.length === 0;
    this.fresh.disabled = this.#draft.turns.length === 0;
  }

  #example(text) {
    this.prompt.text = text;
    this.prompt.focus();
    this.#changed();
  }

  #changed() {
    this.#draft.text = this.prompt.text;
    this.#draft.images = this.prompt.images;
    clearTimeout(this.#saving);
    this.#saving = setTimeout(() => this.#save(), 300);
  }

  #save() {
    clearTimeout(this.#saving);
    saveDraft(this.#draft);
  }

  #send() {
    const content = this.prompt.text;
    const turn = { content, images: this.prompt.images, replies: [] };
    if (!this.#isReady(turn)) return;
    if (!this.#draft.turns.length) replace(this.thread);
    this.prompt.text = "";
    this.prompt.images = [];
    this.#changed();
    this.#ask(turn);
  }

  // All that would be sent is looked at before anything is.
  #isReady(turn) {
    const models = this.#draft.models.filter(Boolean);
    if (models.length < Math.max(this.#draft.models.length, 1)) {
      toast("Name a model first.", { kind: "danger" });
      this.pickers.querySelector("input, select")?.focus();
      return false;
    }
    const { faults } = requestOf(this.#draft.settings, models[0], [turn]);
    if (Object.keys(faults).length) {
      this.settings.closest("details").open = true;
      this.settings.faults = faults;
      return false;
    }
    return true;
  }

  #ask(turn) {
    this.#draft.turns.push(turn);
    const element = h("play-turn", { ".turn": turn });
    this.thread.append(element);
    this.#draft.models.forEach((model, lane) => this.#run(element.add({ model, rounds: [] }), lane));
    this.#update();
    this.#follow.toEnd();
  }

  #run(element, lane) {
    element.ask(requestOf(this.#draft.settings, element.reply.model, historyOf(this.#draft.turns, lane)).body);
  }

  #laneOf(element) {
    return this.#draft.turns.at(-1).replies.indexOf(element.reply);
  }

  #again(element) {
    const lane = this.#laneOf(element);
    const faultless = lane >= 0 && this.#isReady(this.#draft.turns.at(-1));
    if (!faultless || element.running) return;
    const isAlone = this.#draft.models.length === 1 && this.#draft.turns.at(-1).replies.length === 1;
    element.clear(isAlone ? this.#draft.models[0] : element.reply.model);
    this.#run(element, lane);
    this.#update();
  }

  #goOn(element) {
    const lane = this.#laneOf(element);
    if (lane < 0 || !this.#isReady(this.#draft.turns.at(-1))) return;
    this.#run(element, lane);
    this.#update();
  }

  #edited({ target, detail: content }) {
    const turn = { content, images: target.turn.images, replies: [] };
    if (!this.#isReady(turn)) return;
    this.#stop();
    const at = this.#draft.turns.indexOf(target.turn);
    this.#draft.turns.length = at;
    this.#turns.slice(at).forEach((element) => element.remove());
    this.#ask(turn);
    this.prompt.focus();
  }

  #stop() {
    for (const reply of this.#running) reply.stop();
  }

  #settled({ target, detail: round }) {
    if (!this.isConnected) return;
    this.#update();
    this.#save();
    this.announcement.textContent = `${target.reply.model}: ${spoken(round)}`;
  }

  #begin() {
    this.#stop();
    this.#draft.turns = [];
    this.#draft.kept = [];
    this.#drawThread();
    this.#save();
    this.prompt.focus();
  }

  async #keep() {
    this.keeping.disabled = true;
    const { turns, models, settings, kept } = this.#draft;
    const lanes = Math.max(...turns.map(({ replies }) => replies.length));
    try {
      for (let lane = 0; lane < lanes; lane += 1) {
        const model = turns.findLast(({ replies }) => replies[lane])?.replies[lane].model ?? models[0];
        const title = lanes > 1 ? `${turns[0].content.trim().split(/\s+/).join(" ").slice(0, 80)} · ${model}`.slice(0, 200) : null;
        kept[lane] = await keep({ turns, lane, model, settings, title, kept: kept[lane] });
      }
      this.#keptNote(kept);
    } catch (error) {
      toast(`It is not kept: ${error.message}`, { kind: "danger" });
    }
    this.#save();
    this.#update();
  }

  #keptNote(kept) {
    const links = kept.map(({ id }, at) => h("a", { href: hash("/conversations", { id }) }, kept.length > 1 ? `Open the ${at ? "second" : "first"}` : "Open it"));
    this.thread.querySelector(".kept")?.remove();
    this.thread.append(h("p", { class: "note good kept", role: "status" }, icon("check"), h("span", null, "Kept. "), links));
  }
}

function spoken({ state, message, trouble }) {
  if (state === "failed") return `failed. ${trouble.message}`;
  const text = message.tool_calls.length ? "calls a tool." : message.content;
  return `${state === "stopped" ? "stopped. " : ""}${text}`;
}
