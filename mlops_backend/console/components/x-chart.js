// Numbers as a picture, and the same numbers as a table: one switch shows the one or the other.

import { h, replace, uniqueId } from "../lib/element.js";
import { compact, number } from "../lib/format.js";
import { icon } from "../lib/icons.js";
import { uplot } from "../lib/libraries.js";
import { theme } from "../lib/theme.js";
import { dataTable } from "./data-table.js";

/**
 * <x-chart>
 *   .caption  what it shows; `.level` of its heading (2)
 *   .kind     "bars" (stacked), "lines" or "histogram" (bars that touch)
 *   .labels   what each place along the axis is: ["2026-11-01", …]; `.labelHead` names them ("Day")
 *   .labelFormat  (label) => text; `.axisLabel` is a shorter one for the axis
 *   .series   [{label, values: [number | null, …], colour: 1…8}]
 *   .format   (value) => text, for the axis, the tip and the table
 * Where the library is not installed the table alone is shown.
 */
export class XChart extends HTMLElement {
  caption = "";
  level = 2;
  kind = "bars";
  labels = [];
  labelHead = "";
  labelFormat = (label) => label;
  axisLabel = null;
  format = (value) => number(value, 2);
  axisFormat = compact;
  #series = [];
  #isTable = false;
  #draw = null;
  #again = () => this.#paint();
  #size = new ResizeObserver(() => this.#draw?.resize(this.#width()));

  connectedCallback() {
    theme.addEventListener("change", this.#again);
    this.#show();
  }

  disconnectedCallback() {
    theme.removeEventListener("change", this.#again);
    this.#size.disconnect();
    this.#draw?.destroy();
    this.#draw = null;
  }

  get series() {
    return this.#series;
  }

  set series(series) {
    this.#series = series.map((one, at) => ({ colour: (at % 8) + 1, ...one }));
    if (this.isConnected) this.#show();
  }

  #show() {
    const id = uniqueId("chart");
    const name = h(`h${this.level}`, { id }, this.caption);
    const flip = h("button", { type: "button", class: "button plain small", "aria-pressed": String(this.#isTable), onclick: () => this.#flip() }, icon("list", { size: 16 }), "Table");
    this.place = h("div", { class: "plot" });
    this.flip = flip;
    replace(this, h("section", { class: "chart", "aria-labelledby": id }, h("div", { class: "chart-head" }, name, flip), this.#legend(), this.place));
    this.#paint();
  }

  #flip() {
    this.#isTable = !this.#isTable;
    this.flip.setAttribute("aria-pressed", String(this.#isTable));
    this.#paint();
  }

  #legend() {
    if (this.#series.length < 2) return null;
    return h("ul", { class: "legend" }, this.#series.map((one) => h("li", null, swatch(one), one.label)));
  }

  async #paint() {
    const UPlot = this.#isTable ? null : await uplot();
    if (!this.isConnected) return;
    this.#draw?.destroy();
    this.#draw = null;
    this.#size.disconnect();
    this.flip.hidden = !this.#isTable && !UPlot;
    if (!UPlot) return void replace(this.place, this.#table());
    const { drawn } = await import("./chart-drawing.js");
    if (!this.isConnected) return;
    replace(this.place);
    this.place.setAttribute("role", "img");
    this.place.setAttribute("aria-label", `${this.caption}: a chart; the button Table shows its numbers.`);
    this.#draw = drawn(UPlot, this, this.place, this.#width());
    this.#size.observe(this.place);
  }

  #width() {
    return Math.max(this.place.clientWidth, 200);
  }

  #table() {
    this.place.removeAttribute("role");
    this.place.removeAttribute("aria-label");
    const columns = [
      { key: "label", label: this.labelHead || "Of", header: true, cell: (row) => this.labelFormat(row.label) },
      ...this.#series.map((one, at) => ({ key: at, label: one.label, align: "end", cell: (row) => this.format(row[at]) })),
    ];
    const rows = this.labels.map((label, at) => ({ label, ...this.#series.map((one) => one.values[at]) }));
    return dataTable({ caption: `${this.caption}: numbers`, captionHidden: true, columns, rows });
  }
}
customElements.define("x-chart", XChart);

/** A chart, with the properties above. */
export function chart(properties) {
  return Object.assign(document.createElement("x-chart"), properties);
}

/** The sign of a series, as legends have it. */
export function swatch({ colour }) {
  return h("span", { class: "swatch", "aria-hidden": "true", style: { background: `var(--series-${colour})` } });
}
