// A whole system for the tests: the built binary as sandbox and as relay, a proxy before the relay that can be as bad as
// proxies are, and a merchant's server with a checkout page of its own origin.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { createServer as listen } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Proxy } from "./proxy.js";

const binary = process.env.DOLLR_RELAY_BIN;
const apiKey = "k".repeat(32);

async function freePort() {
  const server = listen().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

export class System {
  /** What the merchant's server answers with: {html, headers}. */
  page = { html: "", headers: {} };
  /** What its backend answers callbacks with. */
  hook = { status: 204, body: "" };

  /** Starts everything; environment tells what to add to the relay's, from the merchant's address. */
  async start(environment = () => ({})) {
    if (!binary) throw new Error("DOLLR_RELAY_BIN must name the built binary");
    this.folder = await mkdtemp(join(tmpdir(), "relay-browsertest-"));
    this.sandboxProcess = spawn(binary, ["sandbox", "--listen", "127.0.0.1:0"], { stdio: ["ignore", "pipe", "inherit"] });
    this.environment = { HOME: this.folder };
    for await (const line of createInterface(this.sandboxProcess.stdout)) {
      const [, name, value] = line.match(/^export (\w+)=(.*)/) || [];
      if (name) this.environment[name] = value;
      if (name == "DOLLR_BASE_URL") this.sandbox = value;
      if (this.sandbox && /^# {3}curl -X PUT/.test(line)) break;
    }
    this.merchant = createServer((request, response) => {
      if (request.method == "POST") {
        response.writeHead(this.hook.status);
        return response.end(this.hook.body);
      }
      response.writeHead(200, { "content-type": "text/html; charset=utf-8", ...this.page.headers });
      response.end(this.page.html);
    }).listen(0, "127.0.0.1");
    await once(this.merchant, "listening");
    this.merchantURL = `http://127.0.0.1:${this.merchant.address().port}`;
    this.port = await freePort();
    this.adminPort = await freePort();
    this.proxy = await new Proxy(this.port).start();
    Object.assign(this.environment, {
      RELAY_LISTEN: `127.0.0.1:${this.port}`,
      RELAY_ADMIN_LISTEN: `127.0.0.1:${this.adminPort}`,
      RELAY_PUBLIC_URL: this.proxy.url,
      RELAY_DATABASE_URL: `sqlite:${join(this.folder, "relay.db")}`,
      RELAY_API_KEYS: apiKey,
      RELAY_PAGE_SECRETS: "p".repeat(32),
      RELAY_ALLOWED_ORIGINS: this.merchantURL,
      RELAY_SHUTDOWN_GRACE: "2s",
      RELAY_LOG: "error",
      ...environment(this.merchantURL),
    });
    await this.startRelay();
    return this;
  }

  async startRelay() {
    this.relay = spawn(binary, ["serve"], { env: this.environment, stdio: ["ignore", "inherit", "inherit"] });
    for (let i = 0; ; i++) {
      const ready = await fetch(`http://127.0.0.1:${this.adminPort}/readyz`).then((a) => a.ok, () => false);
      if (ready) return;
      if (i > 500 || this.relay.exitCode !== null) throw new Error("the relay does not come up");
      await new Promise((next) => setTimeout(next, 20));
    }
  }

  async stopRelay() {
    const ended = once(this.relay, "exit");
    this.relay.kill("SIGTERM");
    await ended;
  }

  async stop() {
    await this.stopRelay();
    this.sandboxProcess.kill("SIGTERM");
    await once(this.sandboxProcess, "exit");
    await this.proxy.stop();
    this.merchant.closeAllConnections();
    this.merchant.close();
    await rm(this.folder, { recursive: true });
  }

  async #json(method, url, body) {
    const answer = await fetch(url, {
      method,
      headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  /** A payment at the sandbox, watched by the relay: {reference, id, token}. more adds to its registration. */
  async pay(more = {}) {
    const made = await this.#json("POST", `${this.sandbox}/_sandbox/payments`, { payee_amount: "250.00", payee_currency: "USD" });
    const { operation, reference_id, session_id, source_type, source_id } = made;
    const watched = await this.#json("POST", `http://127.0.0.1:${this.port}/v1/payments`, {
      operation,
      reference_id,
      session_id,
      source_type,
      source_id,
      ...more,
    });
    return { reference: reference_id, id: watched.id, token: watched.page.token };
  }

  token(payment) {
    return this.#json("POST", `http://127.0.0.1:${this.port}/v1/payments/${payment.id}/page-token`).then((a) => a.page.token);
  }

  settle(payment, status = "COMPLETED") {
    return this.#json("PUT", `${this.sandbox}/_sandbox/payments/${payment.reference}/status`, { status });
  }

  /** Switches the sandbox's faults: {realtime_down, dollr_down, …}; those left out are off. */
  weather(faults) {
    return this.#json("PUT", `${this.sandbox}/_sandbox/faults`, faults);
  }

  /** Waits until the relay itself knows. */
  async verified(payment) {
    const shown = await this.#json("POST", `http://127.0.0.1:${this.port}/v1/payments/${payment.id}/verify`);
    if (!shown.final) throw new Error(`not final: ${JSON.stringify(shown)}`);
  }

  /** How many pages are open, by transport. */
  async pages() {
    const text = await fetch(`http://127.0.0.1:${this.adminPort}/metrics`).then((a) => a.text());
    const open = {};
    for (const [, transport, count] of text.matchAll(/^dollr_relay_pages\{transport="(\w+)"\} (\d+)/gm)) {
      if (+count) open[transport] = +count;
    }
    return open;
  }
}
