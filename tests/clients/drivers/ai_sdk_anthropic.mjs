// The AI SDK with @ai-sdk/anthropic.
import { createAnthropic } from "@ai-sdk/anthropic";
import { runWith } from "./ai_sdk.mjs";
import { model, url } from "./steps.mjs";

runWith((apiKey, name = model) => createAnthropic({ baseURL: `${url}/v1`, apiKey })(name));
