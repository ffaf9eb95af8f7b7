// What the drivers of the AI SDK share: `provider(key)` gives a model, and one for embeddings where it has any.
import { embed, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { all, parameters, picture, question, result, run } from "./steps.mjs";

const execute = async () => result;
const tools = { weather: tool({ description: "Tell the weather.", inputSchema: jsonSchema(parameters), execute }) };
const shown = [
  { type: "text", text: question },
  { type: "image", image: picture, mediaType: "image/png" },
];
const asked = { prompt: question, maxRetries: 0 };

export function runWith(modelFor, embeddingModelFor) {
  run({
    chat: async (key, name) => (await generateText({ ...asked, model: modelFor(key, name) })).text,
    stream: async (key) => {
      let failure;
      const { textStream } = streamText({ ...asked, model: modelFor(key), onError: ({ error }) => (failure = error) });
      const parts = await all(textStream, (part) => part);
      if (failure) throw failure;
      return parts;
    },
    tool: async (key) => {
      const { steps, text } = await generateText({ ...asked, model: modelFor(key), tools, stopWhen: stepCountIs(3) });
      const { toolName: name, input } = steps[0].toolCalls[0];
      return { name, arguments: input, text };
    },
    image: async (key) => {
      const messages = [{ role: "user", content: shown }];
      return (await generateText({ model: modelFor(key), messages, maxRetries: 0 })).text;
    },
    embed:
      embeddingModelFor &&
      (async (key) => (await embed({ model: embeddingModelFor(key), value: question, maxRetries: 0 })).embedding),
  });
}
