// Node wants the whole names of modules.
export default { input: "openapi.json", output: { path: "made", module: { extension: ".js" } } };
