// A proxy may show the service below a path, so that every address is relative to the page's own.

const ROOT = new URL("../", location.href.replace(/[?#].*$/s, ""));

/** The full address of a route such as `/api/usage`; of `query`, what is null or empty is left out, lists are repeated. */
export function address(path, query) {
  const url = new URL(path.replace(/^\//, ""), ROOT);
  for (const [name, value] of pairs(query)) url.searchParams.append(name, value);
  return url.href;
}

/** The service's own address, as a client needs it. */
export function serviceAddress() {
  return ROOT.href.replace(/\/$/, "");
}

function pairs(query) {
  if (!query) return [];
  const entries = query instanceof URLSearchParams ? [...query] : Object.entries(query);
  return entries
    .flatMap(([name, value]) => [value].flat().map((one) => [name, one]))
    .filter(([, value]) => value != null && value !== "");
}
