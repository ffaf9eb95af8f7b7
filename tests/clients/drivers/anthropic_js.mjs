// The client library `@anthropic-ai/sdk`.
import Anthropic from "@anthropic-ai/sdk";
import { all, messages, model, parameters, picture, question, result, run, url } from "./steps.mjs";

const client = (apiKey) => new Anthropic({ baseURL: url, apiKey, maxRetries: 0 });
const asked = { model, messages, max_tokens: 200 };
const source = { type: "base64", media_type: "image/png", data: picture };
const shown = [
  { type: "image", source },
  { type: "text", text: question },
];
const tools = [{ name: "weather", description: "Tell the weather.", input_schema: parameters }];

run({
  chat: async (key, name = model) => (await client(key).messages.create({ ...asked, model: name })).content[0].text,
  stream: async (key) =>
    all(await client(key).messages.create({ ...asked, stream: true }), (event) => event.delta?.text),
  tool: async (key) => {
    const { content } = await client(key).messages.create({ ...asked, tools });
    const { id, name, input } = content.find((block) => block.type === "tool_use");
    const told = { role: "user", content: [{ type: "tool_result", tool_use_id: id, content: result }] };
    const turns = [...messages, { role: "assistant", content }, told];
    const answer = await client(key).messages.create({ ...asked, messages: turns, tools });
    return { name, arguments: input, text: answer.content[0].text };
  },
  image: async (key) => {
    const answer = await client(key).messages.create({ ...asked, messages: [{ role: "user", content: shown }] });
    return answer.content[0].text;
  },
});
