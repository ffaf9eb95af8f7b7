// A field has a label, a word of help, and its error where it is.

import { h, uniqueId } from "../lib/element.js";

/** <form-field>: wraps one control; `.error` shows what is wrong with it. */
export class FormField extends HTMLElement {
  control = null;

  set error(text) {
    const place = this.querySelector(".field-error");
    place.textContent = text ?? "";
    place.hidden = !text;
    this.classList.toggle("invalid", Boolean(text));
    if (text) this.control.setAttribute("aria-invalid", "true");
    else this.control.removeAttribute("aria-invalid");
  }

  get value() {
    return this.control.value;
  }
}
customElements.define("form-field", FormField);

/** A field around `control` (an input, select or textarea); `wide` takes a whole row. */
export function field(label, control, { help = null, optional = false, wide = false } = {}) {
  control.id ||= uniqueId("field");
  if (!control.className) control.className = "input";
  const helpId = `${control.id}-help`;
  const errorId = `${control.id}-error`;
  control.setAttribute("aria-describedby", [help && helpId, errorId].filter(Boolean).join(" "));
  return h(
    "form-field",
    { class: ["field", wide && "wide"], ".control": control },
    h("label", { for: control.id }, label, optional && h("span", { class: "muted optional" }, " optional")),
    control,
    help && h("p", { id: helpId, class: "muted small field-help" }, help),
    h("p", { id: errorId, class: "field-error", hidden: true }),
  );
}

/** A select; options: strings, or [value, text]. */
export function select(options, props = {}) {
  const { value, ...rest } = props;
  const made = options.map((one) => {
    const [key, text] = Array.isArray(one) ? one : [one, one];
    return h("option", { value: key, ".selected": key === value }, text);
  });
  return h("select", { class: "input select", ...rest }, made);
}
