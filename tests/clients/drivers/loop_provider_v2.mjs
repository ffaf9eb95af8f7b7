// The AI SDK with ollama-ai-provider-v2.
import { createOllama } from "ollama-ai-provider-v2";
import { loopWith } from "./loop_ai_sdk.mjs";
import { headers, model, url } from "./loop_steps.mjs";

loopWith(createOllama({ baseURL: `${url}/api`, headers })(model));
