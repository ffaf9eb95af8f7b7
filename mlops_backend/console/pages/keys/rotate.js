// How long the old secret works beside the new one.

import { field, select } from "../../components/form-field.js";
import { confirm } from "../../components/confirm-dialog.js";

const OVERLAPS = [["0", "It ends at once"], ["3600", "One hour more"], ["86400", "One day more"], ["604800", "Seven days more"], ["2592000", "Thirty days more"]];

/** Ask for the overlap of a rotation in seconds; null: no rotation. */
export async function askForOverlap(name) {
  const choice = select(OVERLAPS, { value: "86400" });
  const content = field("The old secret", choice, { help: "Browsers that signed in with it are signed out when it ends. There are never more than two secrets: one that was in such an overlap ends now." });
  const isYes = await confirm({ title: "Rotate this key?", text: `${name} gets a new secret, which is shown once. Its id, limits and usage go on.`, action: "Rotate", content });
  return isYes ? Number(choice.value) : null;
}
