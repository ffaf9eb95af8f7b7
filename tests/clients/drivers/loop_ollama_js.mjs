// The client library `ollama`.
import { Ollama } from "ollama";
import { functions, headers, loop, model, task, tools, url } from "./loop_steps.mjs";

const client = new Ollama({ host: url, headers });

async function asked(messages, stream) {
  if (!stream) return (await client.chat({ model, messages, tools })).message;
  const said = { role: "assistant", content: "", thinking: "", tool_calls: [] };
  for await (const { message } of await client.chat({ model, messages, tools, stream: true })) {
    said.content += message.content;
    said.thinking += message.thinking ?? "";
    said.tool_calls.push(...(message.tool_calls ?? []));
  }
  return said;
}

async function looped(stream) {
  const messages = [{ role: "user", content: task }];
  for (;;) {
    const said = await asked(messages, stream);
    messages.push(said);
    if (!said.tool_calls?.length) return said.content;
    for (const { function: called } of said.tool_calls) {
      const content = functions[called.name](called.arguments);
      messages.push({ role: "tool", tool_name: called.name, content });
    }
  }
}

loop({ whole: () => looped(false), streamed: () => looped(true) });
