// Serves the App Router's files of the React guide without Next.js, whose packages are 340 MB: routes as the web-standard
// functions that they are, pages by React on the server, "use client" components hydrated by React in the browser. The same
// files run in Next.js, installed from the registry, by NEXT=1 go test -run Guides/react ./docs.
import { readFile, readdir } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { basename, dirname, join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pathToFileURL } from "node:url";

const port = process.argv[process.argv.indexOf("--port") + 1];
const require = createRequire(resolve("package.json"));
const { build } = require("esbuild");
const { createElement } = require("react");
const { renderToPipeableStream } = require("react-dom/server");

const files = (await readdir("app", { recursive: true })).filter((file) => /(^|\/)(page\.jsx|route\.js|layout\.jsx)$/.test(file));
const islands = {}; // name of a client component -> its file

/** What Next.js does to imports: its own module, and "use client", which ends the server's part. */
const next = {
  name: "next",
  setup(build) {
    build.onResolve({ filter: /^next\/navigation$/ }, (args) => ({ path: args.path, namespace: "next" }));
    build.onLoad({ filter: /./, namespace: "next" }, () => ({
      contents: 'export const notFound = () => { throw Object.assign(new Error("not found"), { status: 404 }); };',
    }));
    build.onResolve({ filter: /\?real$/ }, (args) => ({ path: args.path.slice(0, -5), suffix: "?real" }));
    build.onLoad({ filter: /\/app\/.*\.jsx$/ }, async (args) => {
      const contents = await readFile(args.path, "utf8");
      if (args.suffix || !contents.startsWith('"use client"')) return { contents, loader: "jsx" };
      const names = [...contents.matchAll(/export function (\w+)/g)].map(([, name]) => name);
      for (const name of names) islands[name] = args.path;
      const island = (name) =>
        `export const ${name} = (props) => <div data-island="${name}" data-props={JSON.stringify(props)}><real.${name} {...props} /></div>;`;
      return { contents: `import * as real from "${args.path}?real";\n${names.map(island).join("\n")}`, loader: "jsx", resolveDir: dirname(args.path) };
    });
  },
};
const common = { bundle: true, jsx: "automatic", format: "esm", logLevel: "error", absWorkingDir: process.cwd() };
const names = files.map((file, i) => `import * as m${i} from "./app/${file}";`);
await build({
  ...common,
  stdin: { contents: `${names.join("\n")}\nexport default [${files.map((_, i) => `m${i}`)}];`, resolveDir: process.cwd() },
  platform: "node",
  packages: "external",
  outfile: ".approuter/server.mjs",
  plugins: [next],
});
const imports = Object.entries(islands).map(([name, file]) => `import { ${name} } from ${JSON.stringify(file)};`);
const client = await build({
  ...common,
  stdin: {
    contents: `${imports.join("\n")}
      import { createElement, StrictMode } from "react";
      import { hydrateRoot } from "react-dom/client";
      const components = { ${Object.keys(islands)} };
      for (const node of document.querySelectorAll("[data-island]"))
        hydrateRoot(node, createElement(StrictMode, null, createElement(components[node.dataset.island], JSON.parse(node.dataset.props))));`,
    resolveDir: process.cwd(),
  },
  define: { "process.env.NODE_ENV": '"development"' }, // React then reports what differs from the server's page
  write: false,
});

const modules = (await import(pathToFileURL(resolve(".approuter/server.mjs")))).default;
const layout = modules[files.indexOf("layout.jsx")].default;
const routes = files
  .map((file, i) => ({ file, module: modules[i], pattern: dirname(join("/", file)) }))
  .filter(({ file }) => file !== "layout.jsx")
  .map((route) => ({ ...route, regexp: new RegExp(`^${route.pattern.replace(/\[(\w+)\]/g, "(?<$1>[^/]+)")}$`) }));

async function handle(request, response) {
  const { pathname } = new URL(request.url, "http://shop");
  if (pathname === "/client.js") return response.setHeader("content-type", "text/javascript").end(client.outputFiles[0].contents);
  const route = routes.find(({ regexp }) => regexp.test(pathname));
  if (!route) return response.writeHead(404).end();
  const params = Promise.resolve({ ...route.regexp.exec(pathname).groups });
  if (basename(route.file) === "route.js") {
    const body = Readable.toWeb(request);
    const answer = await route.module[request.method](new Request(`http://shop${request.url}`, { method: request.method, headers: request.headers, body, duplex: "half" }), { params });
    return response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
  }
  const page = createElement(layout, null, await route.module.default({ params }));
  const stream = renderToPipeableStream(page, {
    bootstrapModules: ["/client.js"],
    onShellReady: () => stream.pipe(response.setHeader("content-type", "text/html; charset=utf-8")),
    onError: console.error,
  });
}
createServer((request, response) =>
  handle(request, response).catch((error) => {
    if (!error.status) console.error(error);
    response.writeHead(error.status ?? 500).end();
  }),
).listen(port, () => console.log("Ready in no time"));
