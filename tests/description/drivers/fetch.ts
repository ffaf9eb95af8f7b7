// openapi-fetch with the types that openapi-typescript makes: a whole answer and a stream.
import createClient from "openapi-fetch";
import type { paths } from "./made.js";

declare const process: { env: Record<string, string> };

const { URL: baseUrl = "", KEY = "", MODEL = "" } = process.env;
const client = createClient<paths>({ baseUrl, headers: { "X-API-Key": KEY } });
const body = { model: MODEL, prompt: "Hi" };

const whole = await client.POST("/api/llm/generate", { body });
if (whole.error) throw new Error(whole.error.error);

const streamed = await client.POST("/api/llm/stream", { body, parseAs: "stream" });
if (streamed.error) throw new Error(streamed.error.error);
let text = "";
for await (const piece of streamed.data!.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)) {
  text += piece;
}
const lines = text.trimEnd().split("\n").map((line) => JSON.parse(line) as { response: string });

const refused = await client.POST("/api/llm/generate", { body: { ...body, model: "nobody" } });
const code: string | undefined = refused.error?.code;
const csv = await client.GET("/api/usage/export", { parseAs: "text" });
const head: string | undefined = csv.data?.split("\n")[0];
console.log(
  JSON.stringify({ whole: whole.data.response, streamed: lines.map((line) => line.response), code, head }),
);
