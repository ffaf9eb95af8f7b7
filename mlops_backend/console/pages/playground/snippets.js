// "Copy as": the request as it was sent, for a shell and two languages. The key has a placeholder.

/** What there is: [name, title, makes it of an address and a body]. */
export const LANGUAGES = [
  ["curl", "curl", curl],
  ["python", "Python", python],
  ["javascript", "JavaScript", javascript],
];

/** For a shell. No line of JSON can be the word that ends a here-document, and nothing inside is read by the shell. */
export function curl(address, body) {
  return [
    `curl -N ${quoted(`${address}/api/chat`)} \\`,
    `  -H "X-API-Key: $API_KEY" -H 'Content-Type: application/json' \\`,
    `  --data-binary @- <<'BODY'`,
    JSON.stringify(body, null, 2),
    "BODY",
    "",
  ].join("\n");
}

/** For Python with httpx; lines are split at the newline alone, as JSON may hold other line ends. */
export function python(address, body) {
  return `import json
import os

import httpx

URL = ${JSON.stringify(`${address}/api/chat`)}
KEY = os.environ["API_KEY"]
BODY = ${pythonValue(body)}

# A model that has to be loaded says nothing for minutes.
timeout = httpx.Timeout(10, read=None)
headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
with httpx.stream("POST", URL, content=json.dumps(BODY), headers=headers, timeout=timeout) as response:
    if response.is_error:
        raise SystemExit(response.read().decode())
    rest = b""
    for chunk in response.iter_bytes():
        *lines, rest = (rest + chunk).split(b"\\n")
        for line in lines:
            part = json.loads(line)
            if "error" in part:
                raise SystemExit(part["error"])
            message = part.get("message", {})
            print(message.get("thinking", "") + message.get("content", ""), end="", flush=True)
            for call in message.get("tool_calls", []):
                print(json.dumps(call))
print()
`;
}

/** For Node 18 and later. */
export function javascript(address, body) {
  return `const response = await fetch(${JSON.stringify(`${address}/api/chat`)}, {
  method: "POST",
  headers: { "X-API-Key": process.env.API_KEY, "Content-Type": "application/json" },
  body: JSON.stringify(${JSON.stringify(body, null, 2).replaceAll("\n", "\n  ")}),
});
if (!response.ok) throw new Error(await response.text());
let rest = "";
for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + text).split("\\n");
  rest = lines.pop();
  for (const line of lines) {
    const part = JSON.parse(line);
    if (part.error) throw new Error(part.error);
    process.stdout.write((part.message?.thinking ?? "") + (part.message?.content ?? ""));
    for (const call of part.message?.tool_calls ?? []) console.log(JSON.stringify(call));
  }
}
console.log();
`;
}

function quoted(text) {
  return /^[\w:/.-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

const WORDS = new Map([
  [true, "True"],
  [false, "False"],
  [null, "None"],
]);

// A text of JSON means the same in Python; the words for true, false and null do not.
function pythonValue(value, indent = "") {
  const deeper = `${indent}    `;
  const inner = (parts, open, close) => (parts.length ? `${open}\n${parts.map((part) => `${deeper}${part},\n`).join("")}${indent}${close}` : open + close);
  if (WORDS.has(value)) return WORDS.get(value);
  if (Array.isArray(value)) return inner(value.map((one) => pythonValue(one, deeper)), "[", "]");
  if (typeof value !== "object") return JSON.stringify(value);
  return inner(Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${pythonValue(one, deeper)}`), "{", "}");
}
