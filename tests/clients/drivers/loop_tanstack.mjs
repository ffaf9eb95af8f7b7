// TanStack AI with its adapter for Ollama.
import { chat, maxIterations, toolDefinition } from "@tanstack/ai";
import { createOllamaChat } from "@tanstack/ai-ollama";
import { z } from "zod";
import { described, functions, headers, inZod, loop, model, task, url } from "./loop_steps.mjs";

const shapes = inZod(z);
const tools = Object.keys(functions).map((name) =>
  toolDefinition({ name, description: described[name], inputSchema: shapes[name] }).server(functions[name]),
);

async function streamed() {
  const adapter = createOllamaChat(model, { host: url, headers });
  const messages = [{ role: "user", content: task }];
  let text = "";
  for await (const part of chat({ adapter, messages, tools, agentLoopStrategy: maxIterations(9) })) {
    if (part.type === "RUN_ERROR") throw new Error(JSON.stringify(part));
    if (part.type === "TEXT_MESSAGE_CONTENT") text += part.delta;
  }
  return text;
}

loop({ streamed });
