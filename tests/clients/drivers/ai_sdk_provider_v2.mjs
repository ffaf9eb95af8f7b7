// The AI SDK with ollama-ai-provider-v2.
import { createOllama } from "ollama-ai-provider-v2";
import { runWith } from "./ai_sdk.mjs";
import { model, url } from "./steps.mjs";

const ollama = (key) => createOllama({ baseURL: `${url}/api`, headers: { "X-API-Key": key } });

runWith((key, name = model) => ollama(key)(name), (key) => ollama(key).embedding(model));
