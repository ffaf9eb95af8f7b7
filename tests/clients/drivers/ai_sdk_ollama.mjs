// The AI SDK with ai-sdk-ollama.
import { createOllama } from "ai-sdk-ollama";
import { runWith } from "./ai_sdk.mjs";
import { model, url } from "./steps.mjs";

const ollama = (apiKey) => createOllama({ baseURL: url, apiKey });

runWith((key, name = model) => ollama(key)(name), (key) => ollama(key).embedding(model));
