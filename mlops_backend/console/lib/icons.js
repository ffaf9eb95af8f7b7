// Line icons on a grid of 24; they take the colour of the text that they stand in.

const PATHS = {
  activity: "M3 12h4l3 8 4-16 3 8h4",
  alert: "M12 9v4m0 4h.01M10.3 4 2.6 17.5A2 2 0 0 0 4.3 20.5h15.4a2 2 0 0 0 1.7-3L13.7 4a2 2 0 0 0-3.4 0Z",
  arrow: "M5 12h14m-6-6 6 6-6 6",
  attach: "m20 11-8.5 8.5a5 5 0 0 1-7-7L13 4a3.4 3.4 0 0 1 4.8 4.8l-8.5 8.5a1.7 1.7 0 0 1-2.4-2.4L14.500 7.300",
  chart: "M4 4v16h16M8 16v-4m4 4V8m4 8v-6",
  chat: "M20 11.500a7.500 7.500 0 0 1-11 6.600L4 20l1.700-4.600A7.500 7.500 0 1 1 20 11.500Z",
  check: "m5 12.500 4.500 4.500L19 7.500",
  chevron: "m9 6 6 6-6 6",
  close: "M6 6l12 12M18 6 6 18",
  code: "m8 7-5 5 5 5m8-10 5 5-5 5",
  copy: "M9 9h9a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-7a2 2 0 0 1-2-2V9Zm-4 6H4.500A1.500 1.500 0 0 1 3 13.500V5a2 2 0 0 1 2-2h8.500A1.500 1.500 0 0 1 15 4.500V5",
  cube: "m12 3 8 4.500v9L12 21l-8-4.500v-9L12 3Zm0 9v9m0-9 8-4.500M12 12 4 7.500",
  download: "M12 4v11m-4.500-4.500L12 15l4.500-4.500M4 20h16",
  eject: "M5 19h14M12 5l7 9H5l7-9Z",
  eye: "M2.500 12S6 5.500 12 5.500 21.500 12 21.500 12 18 18.500 12 18.500 2.500 12 2.500 12Zm9.500 3a3 3 0 1 0 0-6 3 3 0 0 0 0 6Z",
  filter: "M4 5h16l-6.500 7.500V19l-3-1.500v-5L4 5Z",
  key: "M14.500 14a5 5 0 1 0-4.700-3.300L3.500 17v3.500H7V18h2.500v-2.500l1.700-1.700c1 .2 2.200.2 3.300.2Zm1.500-5.500h.01",
  list: "M8 6h12M8 12h12M8 18h12M4 6h.01M4 12h.01M4 18h.01",
  logout: "M9 4H6a2 2 0 0 0-2 2v12a2 2 0 0 0 2 2h3m6-4 4-4-4-4m4 4H9",
  menu: "M4 7h16M4 12h16M4 17h16",
  monitor: "M4 5h16v11H4zM9 20h6m-3-4v4",
  moon: "M20 14.500A8 8 0 0 1 9.500 4a8 8 0 1 0 10.500 10.500Z",
  more: "M6 12h.01M12 12h.01M18 12h.01",
  pause: "M8 5v14m8-14v14",
  pencil: "m4 20 1-4L16.500 4.500a2 2 0 0 1 3 3L8 19l-4 1Z",
  play: "m7 4.500 12 7.500-12 7.500v-15Z",
  plus: "M12 5v14M5 12h14",
  refresh: "M20 11a8 8 0 0 0-14.500-3.500L3.500 9.500m0-5v5h5M4 13a8 8 0 0 0 14.500 3.500l2-2m0 5v-5h-5",
  search: "m20 20-4-4m2-5a7 7 0 1 1-14 0 7 7 0 0 1 14 0Z",
  send: "M12 19V5m-6 6 6-6 6 6",
  settings: "M4 7h9m5 0h2M4 17h2m5 0h9M15.500 9.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5Zm-7 10a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5Z",
  shield: "M12 3 5 5.500V11c0 4.500 3 8 7 10 4-2 7-5.500 7-10V5.500L12 3Z",
  stop: "M7 7h10v10H7z",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8Zm0-13v2m0 14v2M3 12h2m14 0h2M5.600 5.600 7 7m10 10 1.400 1.400M5.600 18.400 7 17M17 7l1.400-1.400",
  trash: "M4 7h16M10 11v6m4-6v6M6 7l1 12a1.500 1.500 0 0 0 1.500 1.500h7A1.500 1.500 0 0 0 17 19l1-12M9 7V4.500h6V7",
  user: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8Zm-7.500 8.500a7.500 7.500 0 0 1 15 0",
};
const SVG = "http://www.w3.org/2000/svg";

/** An icon; what it means is told by the text beside it, or by `label`. */
export function icon(name, { label = "", size = 18 } = {}) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  const attributes = { viewBox: "0 0 24 24", width: size, height: size, class: "icon", focusable: "false" };
  Object.assign(attributes, label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" });
  for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, value);
  path.setAttribute("d", PATHS[name] ?? PATHS.more);
  svg.append(path);
  return svg;
}
