// The API's own exports, as files.

import { toast } from "../../components/toast-list.js";
import { call } from "../../lib/api.js";
import { h } from "../../lib/element.js";
import { icon } from "../../lib/icons.js";

/** A button that fetches a table as CSV; `query()` says which. */
export function tableDownload(path, query, name) {
  const button = h("button", { type: "button", class: "button plain small", onclick: () => fetched() }, icon("download", { size: 16 }), "CSV");
  const fetched = async () => {
    button.disabled = true;
    try {
      const response = await call("GET", path, { query: query(), headers: { Accept: "text/csv" } });
      keep(await response.blob(), name);
    } catch (error) {
      toast(error.message, { kind: "danger" });
    } finally {
      button.disabled = false;
    }
  };
  button.setAttribute("aria-label", "Download these sums as CSV");
  return button;
}

/** A link for every generation as CSV, which the browser writes to a file while it comes. */
export function exportLink() {
  return h("a", { class: "button plain small", download: "generations.csv", "aria-label": "Download all of these generations as CSV" }, icon("download", { size: 16 }), "CSV");
}

function keep(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
