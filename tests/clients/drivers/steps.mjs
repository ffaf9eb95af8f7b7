// What every driver in JavaScript shares: the steps, in their order, each told as one line of JSON.

export const { URL: url, MODEL: model, KEY, WRONG_KEY, LIMITED_KEY } = process.env;
export const question = "Name a colour. Answer with one word.";
export const messages = [{ role: "user", content: question }];
export const unknown = "no-such-model";
export const picture =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
export const pictureUrl = `data:image/png;base64,${picture}`;
export const result = "21 degrees and sun";
export const parameters = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city", "days"],
};
export const weather = {
  type: "function",
  function: { name: "weather", description: "Tell the weather.", parameters },
};

// Do each step with its key: `chat` and `image` give a text, `stream` parts, `embed` a vector; `tool` gives a name and
// arguments, and the text behind the result if it sends one.
export async function run({ chat, stream, tool, image, embed }) {
  await attempt("chat", async () => ({ text: await chat(KEY) }));
  await attempt("stream", async () => parted(await stream(KEY)));
  await attempt("tools", async () => tool(KEY));
  await attempt("image", async () => ({ text: await image(KEY) }));
  if (embed) await attempt("embeddings", async () => ({ length: (await embed(KEY)).length }));
  await attempt("error", async () => ({ text: await chat(KEY, unknown) }));
  await attempt("wrong key", async () => ({ text: await chat(WRONG_KEY) }));
  await attempt("limit", async () => parted(await stream(LIMITED_KEY)));
  process.exit(0);
}

export async function all(parts, said) {
  const told = [];
  for await (const part of parts) told.push(said(part));
  return told;
}

function parted(parts) {
  const told = parts.filter((part) => part);
  return { text: told.join(""), parts: told.length };
}

export async function attempt(step, act) {
  let said;
  try {
    said = await act();
  } catch (error) {
    const cause = error.lastError ?? error;
    const status = cause.status ?? cause.statusCode ?? cause.status_code ?? null;
    const name = error.name && error.name !== "Error" ? error.name : error.constructor.name;
    said = { error: name, status, message: String(error.message).slice(0, 1000) };
  }
  process.stdout.write(`${JSON.stringify({ step, ...said })}\n`);
}
