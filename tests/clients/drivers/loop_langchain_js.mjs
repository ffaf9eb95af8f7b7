// LangChain's @langchain/ollama, with LangChain's tools and messages.
import { HumanMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOllama } from "@langchain/ollama";
import { z } from "zod";
import { described, functions, headers, inZod, loop, model, task, url } from "./loop_steps.mjs";

const shapes = inZod(z);
const tools = Object.fromEntries(
  Object.keys(functions).map((name) => [
    name,
    tool(async (given) => functions[name](given), { name, description: described[name], schema: shapes[name] }),
  ]),
);
const chat = new ChatOllama({ baseUrl: url, model, headers }).bindTools(Object.values(tools));

async function looped(asked) {
  const messages = [new HumanMessage(task)];
  for (;;) {
    const said = await asked(messages);
    messages.push(said);
    if (!said.tool_calls?.length) return said.content;
    for (const call of said.tool_calls) messages.push(await tools[call.name].invoke({ ...call, type: "tool_call" }));
  }
}

async function joined(messages) {
  let whole;
  for await (const part of await chat.stream(messages)) whole = whole ? whole.concat(part) : part;
  return whole;
}

loop({ whole: () => looped((messages) => chat.invoke(messages)), streamed: () => looped(joined) });
