// A page's own style sheet is fetched when the page is first shown.

const loaded = new Map();

/** Load `styles/<name>` once; resolves when it applies. */
export function useStyles(name) {
  if (!loaded.has(name)) loaded.set(name, load(new URL(`../styles/${name}`, import.meta.url).href));
  return loaded.get(name);
}

/** Load a style sheet by its address once; a missing one changes nothing. */
export function load(href) {
  return new Promise((resolve) => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = href;
    link.onload = link.onerror = () => resolve();
    document.head.append(link);
  });
}
