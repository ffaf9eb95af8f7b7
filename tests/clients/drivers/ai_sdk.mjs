// What the drivers of the AI SDK share: `provider(key)` gives a model, and one for embeddings where it has any.
import { embed, generateText, jsonSchema, streamText, tool } from "ai";
import { all, parameters, question, run } from "./steps.mjs";

const tools = { weather: tool({ description: "Tell the weather.", inputSchema: jsonSchema(parameters) }) };
const asked = { prompt: question, maxRetries: 0 };

export function runWith(modelFor, embeddingModelFor) {
  run({
    chat: async (key) => (await generateText({ ...asked, model: modelFor(key) })).text,
    stream: async (key) => {
      let failure;
      const { textStream } = streamText({ ...asked, model: modelFor(key), onError: ({ error }) => (failure = error) });
      const parts = await all(textStream, (part) => part);
      if (failure) throw failure;
      return parts;
    },
    tool: async (key) => {
      const { toolCalls } = await generateText({ ...asked, model: modelFor(key), tools });
      return { name: toolCalls[0].toolName, arguments: toolCalls[0].input };
    },
    embed:
      embeddingModelFor &&
      (async (key) => (await embed({ model: embeddingModelFor(key), value: question, maxRetries: 0 })).embedding),
  });
}
