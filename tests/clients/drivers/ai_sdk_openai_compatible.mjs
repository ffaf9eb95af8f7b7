// The AI SDK with @ai-sdk/openai-compatible.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { runWith } from "./ai_sdk.mjs";
import { model, url } from "./steps.mjs";

const provider = (apiKey) => createOpenAICompatible({ name: "mine", baseURL: `${url}/v1`, apiKey });

runWith((key, name = model) => provider(key)(name), (key) => provider(key).embeddingModel(model));
