// The client library `ollama`.
import { Ollama } from "ollama";
import { all, messages, model, question, run, url, weather } from "./steps.mjs";

const client = (key) => new Ollama({ host: url, headers: { "X-API-Key": key } });

run({
  chat: async (key) => (await client(key).chat({ model, messages })).message.content,
  stream: async (key) => all(await client(key).chat({ model, messages, stream: true }), (part) => part.message.content),
  tool: async (key) => (await client(key).chat({ model, messages, tools: [weather] })).message.tool_calls[0].function,
  embed: async (key) => (await client(key).embed({ model, input: question })).embeddings[0],
});
