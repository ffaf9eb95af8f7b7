// Where one is stands behind '#': `#/usage?by=model`. The server is never told.

/** Tells of "change": another page; of "params": the same page, otherwise. */
export const route = new EventTarget();
let here = parse(location.hash);

/** The present path (`/usage`) and parameters. */
export function current() {
  return { path: here.path, params: new URLSearchParams(here.params) };
}

/** Go to a page; `params` may be an object or URLSearchParams. */
export function go(path, params) {
  location.hash = hash(path, params);
}

/** The address of a page, for links. */
export function hash(path, params) {
  const text = search(params).toString();
  return `#${path}${text ? `?${text}` : ""}`;
}

/** Change parameters of this page; those of null or "" are removed, the others stay. */
export function setParams(params, { replace = true } = {}) {
  const all = new URLSearchParams(here.params);
  for (const [name, value] of Object.entries(params)) {
    all.delete(name);
    [value].flat().forEach((one) => one != null && one !== "" && all.append(name, one));
  }
  const target = hash(here.path, all);
  if (target === location.hash) return;
  history[replace ? "replaceState" : "pushState"](null, "", target);
  moved();
}

/** Begin to listen; the first page is asked for by `current`. */
export function start() {
  addEventListener("hashchange", moved);
  addEventListener("popstate", moved);
}

function moved() {
  const before = here;
  here = parse(location.hash);
  if (before.path !== here.path) route.dispatchEvent(new Event("change"));
  else if (before.params.toString() !== here.params.toString()) route.dispatchEvent(new Event("params"));
}

function parse(text) {
  const [path, query] = text.replace(/^#/, "").split(/\?(.*)/s);
  return { path: path.startsWith("/") ? path : "/", params: new URLSearchParams(query ?? "") };
}

function search(params) {
  if (!params || params instanceof URLSearchParams) return params ?? new URLSearchParams();
  const all = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    [value].flat().forEach((one) => one != null && one !== "" && all.append(name, one));
  }
  return all;
}
