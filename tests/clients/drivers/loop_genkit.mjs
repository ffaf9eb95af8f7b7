// Genkit with genkitx-ollama.
import { genkit, z } from "genkit";
import { ollama } from "genkitx-ollama";
import { described, functions, headers, inZod, loop, model, task, url } from "./loop_steps.mjs";

const ai = genkit({
  plugins: [ollama({ models: [{ name: model, type: "chat", supports: { tools: true } }], serverAddress: url, requestHeaders: headers })],
});
const shapes = inZod(z);
const tools = Object.keys(functions).map((name) =>
  ai.defineTool({ name, description: described[name], inputSchema: shapes[name], outputSchema: z.string() }, async (given) =>
    functions[name](given),
  ),
);
const asked = { model: `ollama/${model}`, prompt: task, tools, maxTurns: 9 };

loop({
  whole: async () => (await ai.generate(asked)).text,
  streamed: async () => {
    const { response, stream } = ai.generateStream(asked);
    for await (const _ of stream);
    return (await response).text;
  },
});
