// The client library `ollama`.
import { Ollama } from "ollama";
import { all, messages, model, picture, question, result, run, url, weather } from "./steps.mjs";

const client = (key) => new Ollama({ host: url, headers: { "X-API-Key": key } });

run({
  chat: async (key, name = model) => (await client(key).chat({ model: name, messages })).message.content,
  stream: async (key) => all(await client(key).chat({ model, messages, stream: true }), (part) => part.message.content),
  tool: async (key) => {
    const { message } = await client(key).chat({ model, messages, tools: [weather] });
    const { function: called } = message.tool_calls[0];
    const turns = [...messages, message, { role: "tool", tool_name: called.name, content: result }];
    const answer = await client(key).chat({ model, messages: turns, tools: [weather] });
    return { ...called, text: answer.message.content };
  },
  image: async (key) =>
    (await client(key).chat({ model, messages: [{ ...messages[0], images: [picture] }] })).message.content,
  embed: async (key) => (await client(key).embed({ model, input: question })).embeddings[0],
});
