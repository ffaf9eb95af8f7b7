// What the loops of the AI SDK share.
import { generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";
import { described, functions, inZod, loop, task } from "./loop_steps.mjs";

const shapes = inZod(z);
const tools = Object.fromEntries(
  Object.keys(functions).map((name) => [
    name,
    tool({ description: described[name], inputSchema: shapes[name], execute: functions[name] }),
  ]),
);

export function loopWith(model) {
  const asked = { model, tools, prompt: task, maxRetries: 0, stopWhen: isStepCount(9) };
  loop({
    whole: async () => (await generateText(asked)).text,
    streamed: async () => {
      let failure;
      const text = await streamText({ ...asked, onError: ({ error }) => (failure = error) }).text;
      if (failure) throw failure;
      return text;
    },
  });
}
