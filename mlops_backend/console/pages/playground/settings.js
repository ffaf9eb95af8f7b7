// Every parameter of a reply, by Ollama's own name. What is left empty is not sent, and the model's own value holds.

/** Groups of {name, kind, step, help}; `in` is where the request has it: "options", or the body itself. */
export const GROUPS = [
  {
    title: "Sampling",
    open: true,
    fields: [
      { name: "temperature", kind: "number", step: 0.1, help: "0 is sober, above 1 wild" },
      { name: "top_p", kind: "number", step: 0.05, help: "0 to 1: the likeliest words only" },
      { name: "top_k", kind: "whole", help: "how many words to choose from" },
      { name: "min_p", kind: "number", step: 0.01, help: "a word's least share of the likeliest" },
      { name: "seed", kind: "whole", help: "the same seed, the same reply" },
    ],
  },
  {
    title: "Length and memory",
    fields: [
      { name: "num_predict", kind: "whole", help: "tokens of the reply at the most" },
      { name: "num_ctx", kind: "whole", help: "tokens of prompt and reply together" },
      { name: "keep_alive", kind: "text", of: "body", help: "how long the model stays loaded: 5m, 0, -1", placeholder: "5m" },
    ],
  },
  {
    title: "Repetition",
    fields: [
      { name: "repeat_penalty", kind: "number", step: 0.05, help: "above 1 repeats less" },
      { name: "repeat_last_n", kind: "whole", help: "how far back is looked" },
      { name: "presence_penalty", kind: "number", step: 0.1 },
      { name: "frequency_penalty", kind: "number", step: 0.1 },
    ],
  },
  {
    title: "Form of the reply",
    fields: [
      { name: "think", kind: "choice", of: "body", choices: [["", "as the model does"], ["true", "true"], ["false", "false"], ["low", "low"], ["medium", "medium"], ["high", "high"]] },
      { name: "format", kind: "choice", of: "body", choices: [["", "text"], ["json", "json"], ["schema", "JSON schema …"]] },
      { name: "schema", kind: "json", of: "format", wide: true, help: "an object, as JSON Schema", placeholder: '{"type": "object", "properties": {…}}', needs: ["format", "schema"] },
      { name: "stop", kind: "lines", wide: true, help: "the reply ends before any of these; one a line" },
    ],
  },
  {
    title: "Tools",
    fields: [{ name: "tools", kind: "json", of: "body", wide: true, rows: 8, array: true, help: "a list of definitions; what the model calls is shown, and you type in what the tool answers" }],
  },
  {
    title: "Other options",
    fields: [{ name: "other", kind: "json", of: "others", wide: true, rows: 3, help: "as JSON: whatever else the backend knows", placeholder: '{"mirostat": 2}' }],
  },
];
const FIELDS = GROUPS.flatMap(({ fields }) => fields);

export const EXAMPLE_TOOLS = JSON.stringify(
  [
    {
      type: "function",
      function: {
        name: "get_weather",
        description: "The weather in a city at present",
        parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
      },
    },
  ],
  null,
  2,
);

/** How many are set, of some fields or of all. */
export function countSet(settings, fields = FIELDS) {
  return fields.filter((field) => isAsked(field, settings)).length;
}

/** A request of Ollama's /api/chat as these settings want it, and what is wrong with them: {body, faults: {name: why}}. */
export function requestOf(settings, model, messages) {
  const system = settings.system?.trim() ? [{ role: "system", content: settings.system }] : [];
  return withSettings({ model, messages: [...system, ...messages] }, settings);
}

/** What the settings add to a body. */
export function withSettings(given, settings) {
  const body = { ...given };
  const options = {};
  const faults = {};
  for (const field of FIELDS) {
    if (!isAsked(field, settings)) continue;
    const { value, fault } = read(field, settings[field.name]);
    if (fault) faults[field.name] = fault;
    else put(field, value, body, options);
  }
  if (Object.keys(options).length) body.options = options;
  return { body, faults };
}

function isAsked({ name, needs }, settings) {
  if (needs && settings[needs[0]] !== needs[1]) return false;
  return Boolean(needs) || Boolean(settings[name]?.trim());
}

function put({ name, of = "options" }, value, body, options) {
  if (of === "options") options[name] = value;
  else if (of === "others") Object.assign(options, value);
  else if (of === "format") body.format = value;
  else if (value !== "schema") body[name] = value;
}

const READERS = {
  text: (text) => ({ value: keptAlive(text.trim()) }),
  choice: (text) => ({ value: { true: true, false: false }[text] ?? text }),
  lines: (text) => ({ value: text.split("\n").filter((line) => line !== "") }),
  number: (text) => numeric(text, Number.isFinite, "Enter a number."),
  whole: (text) => numeric(text, Number.isSafeInteger, "Enter a whole number."),
  json: (text, field) => parsed(text, field),
};

function read(field, text = "") {
  return READERS[field.kind](text, field);
}

function numeric(text, fits, fault) {
  const value = Number(text);
  return fits(value) ? { value } : { fault };
}

// Seconds are numbers there, everything else is a duration.
function keptAlive(text) {
  return /^-?\d+$/.test(text) ? Number(text) : text;
}

function parsed(text, { array = false }) {
  try {
    const value = JSON.parse(text);
    const fits = array ? Array.isArray(value) : value !== null && typeof value === "object" && !Array.isArray(value);
    return fits ? { value } : { fault: array ? "Enter a list: [ … ]." : "Enter an object: { … }." };
  } catch (error) {
    return { fault: `This is no JSON: ${error.message}` };
  }
}
