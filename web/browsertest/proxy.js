// A reverse proxy with the manners of real ones: it may strip Upgrade, hold events back, cut connections or freeze them.
import { once } from "node:events";
import { createServer, request as ask } from "node:http";
import { connect } from "node:net";

export class Proxy {
  /** Forwards a WebSocket handshake as the plain request that it is without its Upgrade header. */
  stripUpgrade = false;
  /** Holds an answer back until it is complete: "all" of it, or only its "body". */
  buffer = "";
  /** Paths of the page protocol that were asked for, in order: stream, events, status. */
  asked = [];
  #sockets = new Set();
  #tunnels = new Set();

  constructor(port) {
    this.port = port;
  }

  async start() {
    this.server = createServer((request, response) => this.#forward(request, response));
    this.server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => this.#sockets.delete(socket));
    });
    this.server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    this.url = `http://127.0.0.1:${this.server.address().port}`;
    return this;
  }

  async stop() {
    this.cut();
    this.server.close();
    await once(this.server, "close");
  }

  /** Ends every connection, as idle or overlong ones are ended. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** From now on nothing comes through the WebSockets that are open, and nobody is told. */
  freeze() {
    for (const [socket, upstream] of this.#tunnels) {
      upstream.unpipe(socket);
      socket.unpipe(upstream);
    }
  }

  #note(request) {
    const [, what] = request.url.match(/^\/v1\/page\/(\w+)/) || [];
    if (what && request.method != "OPTIONS") this.asked.push(what);
  }

  #forward(request, response) {
    this.#note(request);
    const forwarded = ask({ port: this.port, host: "127.0.0.1", method: request.method, path: request.url, headers: request.headers });
    forwarded.on("error", () => response.destroy());
    response.on("close", () => forwarded.destroy());
    forwarded.on("response", async (answer) => {
      answer.on("error", () => response.destroy());
      if (!this.buffer) {
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
        return;
      }
      if (this.buffer == "body") response.writeHead(answer.statusCode, answer.headers).flushHeaders();
      const chunks = await answer.toArray().catch(() => null);
      if (!chunks) return;
      if (!response.headersSent) response.writeHead(answer.statusCode, answer.headers);
      response.end(Buffer.concat(chunks));
    });
    request.pipe(forwarded);
  }

  #upgrade(request, socket, head) {
    if (this.stripUpgrade) {
      this.#note(request);
      const { upgrade, connection, ...headers } = request.headers;
      const forwarded = ask({ port: this.port, host: "127.0.0.1", path: request.url, headers });
      forwarded.on("error", () => socket.destroy());
      forwarded.on("response", (answer) => {
        answer.resume();
        socket.end(`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
      });
      forwarded.end();
      return;
    }
    this.#note(request);
    const upstream = connect(this.port, "127.0.0.1", () => {
      const lines = [`${request.method} ${request.url} HTTP/1.1`];
      for (let i = 0; i < request.rawHeaders.length; i += 2) lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
      upstream.write(lines.join("\r\n") + "\r\n\r\n");
      upstream.write(head);
    });
    const tunnel = [socket, upstream];
    this.#tunnels.add(tunnel);
    upstream.on("error", () => socket.destroy());
    upstream.on("close", () => socket.destroy());
    socket.on("close", () => {
      this.#tunnels.delete(tunnel);
      upstream.destroy();
    });
    socket.pipe(upstream).pipe(socket);
  }
}
