// Images that a person gives to a model: read here, and sent as base64 in Ollama's `images`.

const TYPES = ["image/png", "image/jpeg", "image/gif", "image/webp"];
const LARGEST = 20 * 1024 * 1024;
export const MOST = 16;
export const ACCEPT = TYPES.join(",");

/** Files of a paste or a drop; empty when there is none, and text is meant. */
export function filesOf(transfer) {
  return [...(transfer?.files ?? [])];
}

/** Read what may be sent: {images: [{type, data, name}], refused: [why, …]}. */
export async function read(files, room = MOST) {
  const images = [];
  const refused = [];
  for (const file of files) {
    const why = fault(file, room - images.length);
    if (why) refused.push(why);
    else images.push({ type: file.type, name: file.name, data: await base64(file) });
  }
  return { images, refused };
}

/** An image's address for the page. */
export function source({ type, data }) {
  return `data:${type};base64,${data}`;
}

function fault(file, room) {
  if (!TYPES.includes(file.type)) return `${file.name || "This"} is no PNG, JPEG, GIF or WebP.`;
  if (file.size > LARGEST) return `${file.name || "An image"} is larger than 20 MiB.`;
  return room > 0 ? null : `A message has ${MOST} images at the most.`;
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
