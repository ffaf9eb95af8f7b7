// The AI SDK with ai-sdk-ollama.
import { createOllama } from "ai-sdk-ollama";
import { runWith } from "./ai_sdk.mjs";
import { model, url } from "./steps.mjs";

const ollama = (apiKey) => createOllama({ baseURL: url, apiKey });

runWith((key) => ollama(key)(model), (key) => ollama(key).embedding(model));
