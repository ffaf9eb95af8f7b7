// What is drawn again every second keeps what has not changed: the focus, a selection, a reader's place.

const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex]";

/** Put these elements in place of the parent's; one that says the same as the old one of its `data-key` stays. */
export function keep(parent, wanted) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const kept = wanted.map((made) => merged(old.get(made.dataset.key), made));
  // First what has gone: nothing else has to move for it, and what moves loses the focus.
  for (const child of [...parent.children]) if (!kept.includes(child)) leave(child, kept);
  kept.forEach((child, at) => {
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
}

/** The old element with what is new in it, or the new one. */
function merged(old, made) {
  if (!old || old.tagName !== made.tagName) return made;
  if (old.isEqualNode(made)) return old;
  if (old.children.length !== made.children.length || made.dataset.key === undefined) return made;
  for (const { name, value } of [...made.attributes]) old.setAttribute(name, value);
  [...made.children].forEach((child, at) => {
    if (!old.children[at].isEqualNode(child)) swap(old.children[at], child);
  });
  return old;
}

// The focus goes on to what stands in the same place: from "Drain" to "Resume".
function swap(old, made) {
  const place = [...old.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
  old.replaceWith(made);
  if (place >= 0) [...made.querySelectorAll(FOCUSABLE)][place]?.focus({ preventScroll: true });
}

// Of a row that goes, the focus goes to the new one of the same name, or to what the rows stand in.
function leave(child, kept) {
  const had = child.contains(document.activeElement);
  const next = kept.find((one) => one.dataset.key === child.dataset.key);
  const around = child.parentElement.closest("[tabindex]");
  if (next) swap(child, next);
  else child.remove();
  if (had && !next) around?.focus({ preventScroll: true });
}
