// A relay that does what a test says, also what the real one never would: for testing how the page script takes it.
// It speaks the page protocol over real sockets.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const policy = "default-src 'none'; script-src 'self'; connect-src *; require-trusted-types-for 'script'; trusted-types 'none'";

export const status = (version, outcome = "pending", fields = {}) => ({
  type: "status",
  id: "pay_1",
  version,
  status: outcome == "pending" ? "PENDING" : outcome == "succeeded" ? "COMPLETED" : outcome.toUpperCase(),
  outcome,
  verified: outcome != "expired",
  final: outcome != "pending",
  via: "poll",
  at: "2026-11-22T10:00:00Z",
  ...fields,
});

export const hint = (version, outcome) => status(version, outcome, { verified: false, final: false, via: "realtime" });

export class FakeRelay {
  /** The first messages of every connection. */
  state = status(1);
  link = "live";
  /** Which transports work; a blocked one is refused like by a proxy that does not know it, a "swallowed" one is never answered. */
  allowed = { stream: true, events: true, status: true };
  /** Accept, but stay silent. */
  silent = false;
  /** Every attempt, in order: {transport, token}. */
  attempts = [];
  /** Only this token is good, when set. */
  token = null;
  /** Markup of the page at /. */
  body = '<dollr-status token="one"></dollr-status>';
  sockets = new Set();
  streams = new Set();
  swallowed = new Set();

  async start() {
    this.server = createServer((request, response) => this.#serve(request, response));
    this.wss = new WebSocketServer({ noServer: true, handleProtocols: () => "dollr-relay.v1" });
    this.server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
    await new Promise((ready) => this.server.listen(0, "127.0.0.1", ready));
    this.url = `http://127.0.0.1:${this.server.address().port}`;
    return this;
  }

  async stop() {
    for (const ws of this.sockets) ws.terminate();
    for (const socket of this.swallowed) socket.destroy();
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }

  /** Sends a message to all open connections; statuses and links are also what later connections begin with. */
  send(message) {
    if (message.type == "status") this.state = message;
    if (message.type == "link") this.link = message.link;
    this.raw(JSON.stringify(message));
  }

  /** Sends a text as it is. */
  raw(text) {
    for (const ws of this.sockets) ws.send(text);
    for (const stream of this.streams) stream.write(`event: x\ndata: ${text}\n\n`);
  }

  drop(code) {
    for (const ws of this.sockets) code ? ws.close(code) : ws.terminate();
    for (const stream of this.streams) stream.end();
  }

  /** Each token is another payment's, so that watches of different ones share no connection. */
  #present(token) {
    return { ...this.state, id: `pay_${token}` };
  }

  #refusal(transport, token) {
    this.attempts.push({ transport, token });
    if (this.allowed[transport] == "swallowed") return -1;
    if (!this.allowed[transport]) return 400;
    if (this.token && token != this.token) return 401;
    return 0;
  }

  #upgrade(request, socket, head) {
    const protocols = (request.headers["sec-websocket-protocol"] || "").split(", ");
    const token = protocols.find((p) => p.startsWith("bearer."))?.slice(7);
    const refusal = this.#refusal("stream", token);
    if (refusal < 0) return this.swallowed.add(socket.on("error", () => {}));
    if (refusal == 400 || protocols[0] != "dollr-relay.v1") {
      socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
      return;
    }
    this.wss.handleUpgrade(request, socket, head, (ws) => {
      if (refusal == 401) return ws.close(4401);
      this.sockets.add(ws);
      ws.on("close", () => this.sockets.delete(ws));
      if (this.silent) return;
      ws.send(JSON.stringify(this.#present(token)));
      ws.send(JSON.stringify({ type: "link", link: this.link }));
    });
  }

  async #serve(request, response) {
    const url = new URL(request.url, this.url);
    const token = request.headers.authorization?.slice(7);
    switch (url.pathname) {
      case "/":
        response.setHeader("Content-Security-Policy", policy);
        response.setHeader("Content-Type", "text/html; charset=utf-8");
        return response.end(
          `<!doctype html><html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>t</title><script src="/v1/relay.js" defer></script></head><body>${this.body}</body></html>`,
        );
      case "/v1/relay.js":
      case "/v1/relay.mjs":
        response.setHeader("Content-Type", "text/javascript; charset=utf-8");
        return response.end(await readFile(new URL("../dist" + url.pathname.slice(3), import.meta.url)));
      case "/v1/page/events": {
        const refusal = this.#refusal("events", token);
        if (refusal < 0) return;
        if (refusal) return response.writeHead(refusal).end();
        response.writeHead(200, { "Content-Type": "text/event-stream" });
        this.streams.add(response);
        response.on("close", () => this.streams.delete(response));
        if (this.silent) return response.write(":\n\n");
        response.write(`event: status\nid: ${this.state.version}\ndata: ${JSON.stringify(this.#present(token))}\n\n`);
        return response.write(`event: link\ndata: {"type":"link","link":"${this.link}"}\n\n`);
      }
      case "/v1/page/status": {
        const refusal = this.#refusal("status", token);
        if (refusal < 0) return;
        if (refusal) return response.writeHead(refusal).end();
        response.setHeader("Relay-Link", this.link);
        response.setHeader("Relay-Position", `${this.state.version}.${this.link}`);
        const newer = this.state.version > (parseInt(url.searchParams.get("since")) || 0);
        return newer ? response.end(JSON.stringify(this.#present(token))) : response.writeHead(204).end();
      }
    }
    response.writeHead(404).end();
  }
}
