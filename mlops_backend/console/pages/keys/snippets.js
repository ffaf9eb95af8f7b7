// The first lines of each client, with this service's address and a key in them: as in the documentation's page of clients.

import { copyButton } from "../../components/copy-button.js";
import { field, select } from "../../components/form-field.js";
import { serviceAddress } from "../../lib/address.js";
import { h } from "../../lib/element.js";

const QUESTION = "Why is the sky blue?";
const DOCKER = "host.docker.internal";

/** [name, language, (at, key, model) => text, note] */
export const CLIENTS = [
  ["curl", "sh", (at, key, model) => `curl ${at}/api/chat -H "X-API-Key: ${key}" -H "Content-Type: application/json" \\\n  -d ${shell(JSON.stringify({ model, messages: [{ role: "user", content: QUESTION }] }))}`],
  ["Python: openai", "python", (at, key, model) => `from openai import OpenAI\n\nclient = OpenAI(base_url="${at}/v1", api_key="${key}")\nmessages = [{"role": "user", "content": "${QUESTION}"}]\nfor chunk in client.chat.completions.create(model=${quoted(model)}, messages=messages, stream=True):\n    print(chunk.choices[0].delta.content or "", end="", flush=True)`],
  ["Python: anthropic", "python", (at, key, model) => `from anthropic import Anthropic\n\nclient = Anthropic(base_url="${at}", api_key="${key}")\nmessages = [{"role": "user", "content": "${QUESTION}"}]\nwith client.messages.stream(model=${quoted(model)}, messages=messages, max_tokens=400) as stream:\n    for text in stream.text_stream:\n        print(text, end="", flush=True)`],
  ["Python: ollama", "python", (at, key, model) => `from ollama import Client\n\nclient = Client("${at}", headers={"X-API-Key": "${key}"})\nmessages = [{"role": "user", "content": "${QUESTION}"}]\nfor part in client.chat(${quoted(model)}, messages, stream=True):\n    print(part.message.content, end="", flush=True)`],
  ["JavaScript: ollama", "javascript", (at, key, model) => `import { Ollama } from "ollama";\n\nconst ollama = new Ollama({ host: "${at}", headers: { "X-API-Key": "${key}" } });\nconst messages = [{ role: "user", content: "${QUESTION}" }];\nconst parts = await ollama.chat({ model: ${quoted(model)}, messages, stream: true });\nfor await (const part of parts) process.stdout.write(part.message.content);`],
  ["JavaScript: openai", "javascript", (at, key, model) => `import OpenAI from "openai";\n\nconst client = new OpenAI({ baseURL: "${at}/v1", apiKey: "${key}" });\nconst messages = [{ role: "user", content: "${QUESTION}" }];\nconst chunks = await client.chat.completions.create({ model: ${quoted(model)}, messages, stream: true });\nfor await (const chunk of chunks) process.stdout.write(chunk.choices[0]?.delta.content ?? "");`],
  ["Ollama's command line", "sh", (at, key, model) => `OLLAMA_HOST=${at}/k/${key} ollama run ${shell(model)} "${QUESTION}"`, "It sends no key but in its address, which the service reads with KEY_IN_URL=true. An address stands in the shell's history and in the logs of proxies: use a key that nothing else uses."],
  ["Claude Code", "sh", (at, key, model) => `unset ANTHROPIC_API_KEY\nexport ANTHROPIC_BASE_URL=${at} ANTHROPIC_AUTH_TOKEN=${key} ANTHROPIC_MODEL=${shell(model)}\nclaude`, "It wants a model that calls tools, with a context of 64,000 tokens or more."],
  ["Open WebUI", "yaml", (at, key) => `services:\n  open-webui:\n    image: ghcr.io/open-webui/open-webui:main\n    ports: ["3000:8080"]\n    environment:\n      OPENAI_API_BASE_URL: ${fromDocker(at)}/v1\n      OPENAI_API_KEY: ${key}\n      ENABLE_OLLAMA_API: "false"\n    extra_hosts: ["${DOCKER}:host-gateway"]\n    volumes: ["open-webui:/app/backend/data"]\nvolumes:\n  open-webui:`, "It reads these variables at its first start; later they are changed in its administrator's settings."],
];

/** A choice of clients, and what each is told; `key` stands for the secret where nobody knows it any more. */
export function snippets({ key = "your-key", model = "your-model" } = {}) {
  const at = serviceAddress();
  const code = h("code");
  const note = h("p", { class: "muted small" });
  const block = h("pre", { tabindex: "0", "aria-label": "What the client is told" }, code);
  const copy = copyButton(() => code.textContent, { label: "Copy" });
  const kind = h("span");
  const choice = select(CLIENTS.map(([name], index) => [String(index), name]), { value: "0", onchange: show });
  function show() {
    const [, language, text, words] = CLIENTS[Number(choice.value)];
    code.textContent = text(at, key, model);
    kind.textContent = language;
    note.textContent = words ?? "";
    note.hidden = !words;
  }
  show();
  return h("div", { class: "stack snippets" }, field("Client", choice), h("figure", { class: "code-block" }, h("figcaption", null, kind, copy), block), note);
}

function quoted(text) {
  return JSON.stringify(text);
}

// A word that a shell takes as it stands, or one in quotes.
function shell(text) {
  return /^[\w.:/@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

// Within a container this machine has another name.
function fromDocker(at) {
  return at.replace(/^(https?:\/\/)(localhost|127\.0\.0\.1|\[::1\])(?=[:/]|$)/, `$1${DOCKER}`);
}
