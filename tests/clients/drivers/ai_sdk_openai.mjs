// The AI SDK with @ai-sdk/openai, whose default is the responses API.
import { createOpenAI } from "@ai-sdk/openai";
import { runWith } from "./ai_sdk.mjs";
import { model, url } from "./steps.mjs";

const openai = (apiKey) => createOpenAI({ baseURL: `${url}/v1`, apiKey });

runWith((key, name = model) => openai(key)(name), (key) => openai(key).embedding(model));
