// What every driver of a loop of tools in JavaScript shares: the tools, and how the loop's end is told.
import { attempt } from "./steps.mjs";

export const { URL: url, MODEL: model, KEY: key } = process.env;
export const headers = { "X-API-Key": key };
export const task = "Look up the weather, tell the time, and keep a note.";
export const calls = [];
export const described = {
  lookup: "Look up the weather of a city.",
  clock: "Tell the time.",
  keep: "Keep a note.",
};

export const functions = {
  lookup: ({ city }) => {
    calls.push(["lookup", { city }]);
    return `rain in ${city}`;
  },
  clock: () => {
    calls.push(["clock", {}]);
    return "half past twelve";
  },
  keep: ({ text }) => {
    calls.push(["keep", { text }]);
    return `kept ${[...text].length} letters`;
  },
};

const object = (properties) => ({ type: "object", properties, required: Object.keys(properties) });
export const parameters = {
  lookup: object({ city: { type: "string", description: "The city's name." } }),
  clock: { type: "object", properties: {} },
  keep: object({ text: { type: "string", description: "The note." } }),
};
export const tools = Object.keys(functions).map((name) => ({
  type: "function",
  function: { name, description: described[name], parameters: parameters[name] },
}));

// The same parameters, as Zod has them.
export const inZod = (z) => ({
  lookup: z.object({ city: z.string() }),
  clock: z.object({}),
  keep: z.object({ text: z.string() }),
});

// Go through the loop in the way that is asked for.
export async function loop(modes) {
  const mode = process.env.MODE;
  await attempt(mode, async () => ({ text: await modes[mode](), calls }));
  process.exit(0);
}
