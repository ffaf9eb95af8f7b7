// The client library `openai`, chat completions.
import OpenAI from "openai";
import { all, messages, model, pictureUrl, question, result, run, url, weather } from "./steps.mjs";

const client = (apiKey) => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const asked = { model, messages };
const shown = [
  { type: "text", text: question },
  { type: "image_url", image_url: { url: pictureUrl } },
];

run({
  chat: async (key, name = model) =>
    (await client(key).chat.completions.create({ ...asked, model: name })).choices[0].message.content,
  stream: async (key) =>
    all(await client(key).chat.completions.create({ ...asked, stream: true }), (part) => part.choices[0].delta.content),
  tool: async (key) => {
    const { message } = (await client(key).chat.completions.create({ ...asked, tools: [weather] })).choices[0];
    const { id, function: called } = message.tool_calls[0];
    const turns = [...messages, message, { role: "tool", tool_call_id: id, content: result }];
    const answer = await client(key).chat.completions.create({ model, messages: turns, tools: [weather] });
    const { content: text } = answer.choices[0].message;
    return { name: called.name, arguments: JSON.parse(called.arguments), text };
  },
  image: async (key) => {
    const turns = [{ role: "user", content: shown }];
    return (await client(key).chat.completions.create({ model, messages: turns })).choices[0].message.content;
  },
  embed: async (key) => (await client(key).embeddings.create({ model, input: question })).data[0].embedding,
});
