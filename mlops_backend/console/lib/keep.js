// What is drawn again every second keeps what has not changed: the focus, a selection, a reader's place.

/** Put these elements in place of the parent's; one that says the same as the old one of its `data-key` stays. */
export function keep(parent, wanted) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const kept = wanted.map((made) => merged(old.get(made.dataset.key), made));
  kept.forEach((child, at) => {
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
  while (parent.children.length > kept.length) parent.lastElementChild.remove();
}

/** The old element with what is new in it, or the new one. */
function merged(old, made) {
  if (!old || old.tagName !== made.tagName) return made;
  if (old.isEqualNode(made)) return old;
  if (old.children.length !== made.children.length || made.dataset.key === undefined) return made;
  for (const { name, value } of [...made.attributes]) old.setAttribute(name, value);
  [...made.children].forEach((child, at) => {
    if (!old.children[at].isEqualNode(child)) old.children[at].replaceWith(child);
  });
  return old;
}
