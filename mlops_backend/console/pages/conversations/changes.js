// What is taken out of a conversation.

import { confirm } from "../../components/confirm-dialog.js";
import * as store from "./store.js";

/** Delete what stands behind a message, if that is what is wanted; whether it was. Throws ApiError. */
export async function cutBehind(conversation, id) {
  const at = conversation.messages.findIndex((one) => one.id === id);
  const count = conversation.messages.slice(at + 1).filter((one) => !one.replaced_at).length;
  const text = `${count} ${count === 1 ? "message is" : "messages are"} deleted for good.`;
  if (!(await confirm({ title: "Delete what follows?", text, action: "Delete", danger: true }))) return false;
  await store.truncate(conversation, id);
  return true;
}

/** Delete a message with all that follows; its images, in base64. Throws ApiError. */
export async function cutFrom(conversation, message) {
  const at = conversation.messages.indexOf(message);
  const after = conversation.messages.slice(0, at).findLast((one) => !one.replaced_at)?.id ?? null;
  const images = await Promise.all(message.images.map(({ hash }) => store.imageData(conversation.id, hash)));
  await store.truncate(conversation, after);
  return images;
}
