// LlamaIndex for JavaScript: its model for Ollama in its agent.
import { Ollama } from "@llamaindex/ollama";
import { FunctionTool } from "@llamaindex/core/tools";
import { agent } from "@llamaindex/workflow";
import { z } from "zod";
import { described, functions, headers, inZod, loop, model, task, url } from "./loop_steps.mjs";

const shapes = inZod(z);
const tools = Object.keys(functions).map((name) =>
  FunctionTool.from(functions[name], { name, description: described[name], parameters: shapes[name] }),
);

async function looped() {
  const llm = new Ollama({ model, config: { host: url, headers } });
  return (await agent({ llm, tools }).run(task)).data.result;
}

loop({ streamed: looped });
