// A table that can be sorted, has a caption, and scrolls inside itself where it is too wide.

import { h, replace } from "../lib/element.js";
import { icon } from "../lib/icons.js";
import { keep } from "../lib/keep.js";

/**
 * <data-table>
 *   .caption   what the table shows; `.captionHidden = true` keeps it for screen readers
 *   .columns   [{key, label, align: "end", sort: false | (row) => value, cell: (row) => node | text, header: true, hideLabel}]
 *   .rows      objects
 *   .sort      {key, descending}; a "sort" event tells of a change. With `.remote = true` the page sorts, not the table
 *   .empty     node or text shown when there are no rows
 *   .rowProps  (row) => props of the <tr>
 *   .rowKey    (row) => a name of the row: drawn again, a row of the same name keeps what has not changed, and the focus
 */
export class DataTable extends HTMLElement {
  #rows = [];
  #columns = [];
  #drawn = false;
  caption = "";
  captionHidden = false;
  sort = null;
  remote = false;
  empty = "Nothing here.";
  rowProps = null;
  rowKey = null;

  connectedCallback() {
    this.#drawn = true;
    this.#draw();
  }

  get rows() {
    return this.#rows;
  }

  set rows(rows) {
    this.#rows = rows;
    if (this.#drawn) this.#drawBody();
  }

  set columns(columns) {
    this.#columns = columns;
    if (this.#drawn) this.#draw();
  }

  get columns() {
    return this.#columns;
  }

  #draw() {
    const head = h("thead", null, h("tr", null, this.#columns.map((column) => this.#head(column))));
    const caption = h("caption", { class: this.captionHidden && "visually-hidden" }, this.caption);
    const table = h("table", null, caption, head, h("tbody"));
    replace(this, h("div", { class: "table-scroll", role: "region", "aria-label": this.caption, tabindex: "0" }, table));
    this.#drawBody();
  }

  #head(column) {
    const props = { scope: "col", class: [column.align === "end" && "end", column.class], "aria-sort": this.#direction(column) };
    if (column.sort === false) return h("th", props, column.hideLabel ? h("span", { class: "visually-hidden" }, column.label) : column.label);
    const button = h("button", { type: "button", class: "sort", onclick: () => this.#by(column) }, column.label, icon("chevron", { size: 14 }));
    return h("th", props, button);
  }

  #direction(column) {
    if (column.sort === false || this.sort?.key !== column.key) return null;
    return this.sort.descending ? "descending" : "ascending";
  }

  #by(column) {
    const isSame = this.sort?.key === column.key;
    this.sort = { key: column.key, descending: isSame ? !this.sort.descending : column.align === "end" };
    this.querySelectorAll("thead th").forEach((cell, at) => {
      const direction = this.#direction(this.#columns[at]);
      if (direction) cell.setAttribute("aria-sort", direction);
      else cell.removeAttribute("aria-sort");
    });
    this.dispatchEvent(new CustomEvent("sort", { detail: this.sort }));
    if (!this.remote) this.#drawBody();
  }

  #drawBody() {
    const rows = this.#sorted().map((row) => h("tr", this.#propsOf(row), this.#columns.map((column) => cell(column, row))));
    const nothing = h("tr", { class: "nothing" }, h("td", { colspan: this.#columns.length }, this.empty));
    if (this.rowKey && rows.length) keep(this.querySelector("tbody"), rows);
    else replace(this.querySelector("tbody"), rows.length ? rows : nothing);
  }

  #propsOf(row) {
    const props = this.rowProps?.(row) ?? {};
    return this.rowKey ? { ...props, dataset: { ...props.dataset, key: this.rowKey(row) } } : props;
  }

  #sorted() {
    const column = this.sort && this.#columns.find((one) => one.key === this.sort.key);
    if (!column || this.remote || column.sort === false) return this.#rows;
    const value = column.sort ?? ((row) => row[column.key]);
    const sign = this.sort.descending ? -1 : 1;
    return [...this.#rows].sort((one, other) => sign * compare(value(one), value(other)));
  }
}
customElements.define("data-table", DataTable);

/** A table: `dataTable({caption, columns, rows, …})`, with the properties above. */
export function dataTable(properties) {
  return Object.assign(document.createElement("data-table"), properties);
}

function cell(column, row) {
  const content = column.cell ? column.cell(row) : row[column.key] ?? "–";
  const props = { class: [column.align === "end" && "end", column.class] };
  return column.header ? h("th", { scope: "row", ...props }, content) : h("td", props, content);
}

function compare(one, other) {
  if (one == null || other == null) return (one == null) - (other == null);
  if (typeof one === "string" && typeof other === "string") return one.localeCompare(other, undefined, { numeric: true });
  return one < other ? -1 : Number(one > other);
}
