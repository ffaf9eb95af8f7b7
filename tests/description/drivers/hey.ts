// The client that @hey-api/openapi-ts makes: a whole answer, a stream read whole, and events one by one.
import { client } from "./made/client.gen.js";
import { createStream, exportUsage, generate, readStream, stream } from "./made/sdk.gen.js";
import type { GenerateResponse } from "./made/types.gen.js";

declare const process: { env: Record<string, string> };

const { URL: baseUrl = "", KEY = "", MODEL = "" } = process.env;
client.setConfig({ baseUrl, auth: () => KEY });
const body = { model: MODEL, prompt: "Hi" };

const whole = await generate({ body, throwOnError: true });
const streamed = await stream({ body, parseAs: "text", throwOnError: true });
const text = streamed.data as string; // it would be the address of a stream with Prefer: respond-async alone
const lines = text.trimEnd().split("\n").map((line) => JSON.parse(line) as GenerateResponse);

const begun = await createStream({ body, throwOnError: true });
const events: string[] = [];
for await (const event of (await readStream({ path: { stream_id: begun.data.id } })).stream) {
  events.push((event as GenerateResponse).response);
}

const refused = await generate({ body: { ...body, model: "nobody" } });
const code: string | undefined = refused.error?.code;
const csv = await exportUsage({ throwOnError: true });
const head: string | undefined = csv.data.split("\n")[0];
console.log(
  JSON.stringify({
    whole: whole.data.response,
    streamed: lines.map((line) => line.response),
    events,
    code,
    head,
  }),
);
