// The client library `@anthropic-ai/sdk`.
import Anthropic from "@anthropic-ai/sdk";
import { all, messages, model, parameters, run, url } from "./steps.mjs";

const client = (apiKey) => new Anthropic({ baseURL: url, apiKey, maxRetries: 0 });
const asked = { model, messages, max_tokens: 200 };
const tools = [{ name: "weather", description: "Tell the weather.", input_schema: parameters }];

run({
  chat: async (key) => (await client(key).messages.create(asked)).content[0].text,
  stream: async (key) =>
    all(await client(key).messages.create({ ...asked, stream: true }), (event) => event.delta?.text),
  tool: async (key) => {
    const { content } = await client(key).messages.create({ ...asked, tools });
    const { name, input } = content.find((block) => block.type === "tool_use");
    return { name, arguments: input };
  },
});
