// The client library `openai`, chat completions.
import OpenAI from "openai";
import { all, messages, model, question, run, url, weather } from "./steps.mjs";

const client = (apiKey) => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const asked = { model, messages };

run({
  chat: async (key) => (await client(key).chat.completions.create(asked)).choices[0].message.content,
  stream: async (key) =>
    all(await client(key).chat.completions.create({ ...asked, stream: true }), (part) => part.choices[0].delta.content),
  tool: async (key) => {
    const answer = await client(key).chat.completions.create({ ...asked, tools: [weather] });
    const { name, arguments: text } = answer.choices[0].message.tool_calls[0].function;
    return { name, arguments: JSON.parse(text) };
  },
  embed: async (key) => (await client(key).embeddings.create({ model, input: question })).data[0].embedding,
});
