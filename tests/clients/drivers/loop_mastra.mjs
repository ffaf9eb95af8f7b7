// Mastra's agent, with ollama-ai-provider-v2.
import { Agent } from "@mastra/core/agent";
import { createTool } from "@mastra/core/tools";
import { createOllama } from "ollama-ai-provider-v2";
import { z } from "zod";
import { described, functions, headers, inZod, loop, model, task, url } from "./loop_steps.mjs";

const shapes = inZod(z);
const tools = Object.fromEntries(
  Object.keys(functions).map((id) => [
    id,
    createTool({ id, description: described[id], inputSchema: shapes[id], execute: async (given) => functions[id](given) }),
  ]),
);
const agent = new Agent({
  id: "helper",
  name: "helper",
  instructions: "Help.",
  model: createOllama({ baseURL: `${url}/api`, headers })(model),
  tools,
});

loop({
  whole: async () => (await agent.generate(task, { maxSteps: 9 })).text,
  streamed: async () => (await agent.stream(task, { maxSteps: 9 })).text,
});
