// The AI SDK with ai-sdk-ollama.
import { createOllama } from "ai-sdk-ollama";
import { loopWith } from "./loop_ai_sdk.mjs";
import { key, model, url } from "./loop_steps.mjs";

loopWith(createOllama({ baseURL: url, apiKey: key })(model));
