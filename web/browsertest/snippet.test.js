// How the page script takes what a network and a relay can do to it. Time is the browser's virtual time.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { launch, open } from "./browser.js";
import { FakeRelay, hint, status } from "./fakerelay.js";

let browser, relay, page;

before(async () => (browser = await launch()));
after(() => browser.close());
beforeEach(async () => {
  relay = await new FakeRelay().start();
  page = await open(browser);
});
afterEach(async () => {
  assert.deepEqual(page.problems, [], "the page reported errors");
  await page.context().close();
  await relay.stop();
});

/** Loads a page that watches by script and keeps every event in window.seen and how it ended in window.ended. */
async function watch(options = "token: 'one'", clock = false) {
  relay.body = "";
  if (clock) await page.clock.install();
  await page.goto(relay.url);
  await page.evaluate(`
    window.seen = [];
    window.w = DollrRelay.watch({ ${options} });
    w.addEventListener("status", (e) => seen.push(e.detail.outcome + " v" + e.detail.version + (e.detail.verified ? "" : " hint")));
    w.addEventListener("link", (e) => seen.push(e.detail.link));
    w.final.then((s) => (window.ended = s.outcome), (e) => (window.ended = e.name + ": " + e.message));
    void 0`);
}
const seen = (...events) =>
  page.waitForFunction((want) => JSON.stringify(seen) == want, JSON.stringify(events), { timeout: 5000 }).catch(async () => {
    assert.deepEqual(await page.evaluate("seen"), events);
  });
const ended = async () => (await page.waitForFunction(() => window.ended)).jsonValue();
/** Waits in real time until the fake relay has seen what a test expects. */
async function until(condition, what) {
  const deadline = Date.now() + 5000;
  while (!condition()) {
    assert.ok(Date.now() < deadline, `waited in vain until ${what}; attempts: ${JSON.stringify(relay.attempts)}`);
    await new Promise((next) => setTimeout(next, 10));
  }
}

test("statuses and links arrive, the final one resolves, and nothing reconnects after it", async () => {
  await watch();
  await seen("pending v1", "live");
  relay.send(hint(1, "succeeded"));
  relay.send(status(2, "succeeded"));
  assert.equal(await ended(), "succeeded");
  relay.drop(1000);
  await page.evaluate("dispatchEvent(new Event('online'))");
  await page.waitForTimeout(1200);
  await seen("pending v1", "live", "succeeded v1 hint", "succeeded v2");
  assert.equal(relay.attempts.length, 1);
});

test("an older version, a malformed message and an unknown one change nothing", async () => {
  relay.state = status(3);
  await watch();
  await seen("pending v3", "live");
  relay.raw(JSON.stringify(status(2, "failed")));
  for (const text of ["", "{", "null", "7", '"x"', "[]", '{"type":"status"}', '{"type":"status","version":"x","final":true}', '{"type":"new"}']) {
    relay.raw(text);
  }
  relay.send(status(4, "succeeded"));
  assert.equal(await ended(), "succeeded");
  await seen("pending v3", "live", "succeeded v4");
});

test("a withdrawn hint is taken back", async () => {
  await watch();
  await seen("pending v1", "live");
  relay.send(hint(1, "succeeded"));
  relay.send(status(1));
  await seen("pending v1", "live", "succeeded v1 hint", "pending v1");
});

test("a dropped connection comes back with the present state", async () => {
  await watch();
  await seen("pending v1", "live");
  relay.state = status(2, "failed");
  relay.drop();
  assert.equal(await ended(), "failed");
});

test("a socket that stays silent for 35 s is dead", async () => {
  await watch("token: 'one'", true);
  await seen("pending v1", "live");
  await page.clock.fastForward(34_000); // a jump this long also rouses the watch: take that connection as the first
  await until(() => relay.attempts.length == 2, "the clock's jump made it reconnect");
  relay.silent = true;
  for (let i = 0; i < 33; i++) await page.clock.runFor(1000);
  assert.equal(relay.attempts.length, 2, "it gave up before 35 s");
  for (let i = 0; i < 4; i++) await page.clock.runFor(1000);
  await until(() => relay.attempts.length == 3, "the silent socket was given up");
});

test("pings keep a quiet socket", async () => {
  await watch("token: 'one'", true);
  await seen("pending v1", "live");
  for (let i = 0; i < 100; i++) {
    if (i % 25 == 24) relay.send({ type: "ping" });
    await page.clock.runFor(1000);
  }
  assert.equal(relay.attempts.length, 1);
});

test("without WebSocket it falls back to server-sent events, without those to long polling", async () => {
  relay.allowed = { stream: false, events: true, status: true };
  await watch();
  await seen("pending v1", "live");
  assert.deepEqual(relay.attempts.map((a) => a.transport), ["stream", "events"]);
  relay.allowed = { stream: false, events: false, status: true };
  relay.drop();
  await until(() => relay.attempts.some((a) => a.transport == "status"), "it polled");
  relay.send(status(2, "succeeded"));
  assert.equal(await ended(), "succeeded");
});

test("events held back by a proxy are given up after 8 s", async () => {
  relay.allowed.stream = false;
  relay.allowed.status = true;
  await page.route("**/v1/page/events", () => {}); // never answered
  await watch("token: 'one'", true);
  for (let i = 0; i < 12; i++) {
    await page.clock.runFor(1000);
    await page.waitForTimeout(20);
  }
  await until(() => relay.attempts.some((a) => a.transport == "status"), "it polled");
  await seen("offline", "pending v1", "live");
});

test("what polls looks for a better transport after five minutes, and the customer is not bothered", async () => {
  Object.assign(relay.allowed, { stream: "swallowed", events: "swallowed" });
  await watch("token: 'one'", true);
  const run = async (seconds) => {
    for (let i = 0; i < seconds; i++) {
      await page.clock.runFor(1000);
      await page.waitForTimeout(20);
    }
  };
  await run(20);
  await seen("offline", "pending v1", "live");
  relay.attempts.length = 0;
  await run(325);
  assert.deepEqual([...new Set(relay.attempts.map((a) => a.transport))], ["status", "stream", "events"]);
  assert.equal(relay.attempts.at(-1).transport, "status");
  relay.send(status(2, "succeeded"));
  await run(2);
  await seen("offline", "pending v1", "live", "pending v1", "succeeded v2");
});

test("a refused token is replaced by the function that brings one", async () => {
  relay.token = "two";
  await watch("token: (() => { const t = ['one', 'two']; return async () => t.shift(); })()");
  await seen("pending v1", "live");
  assert.deepEqual(relay.attempts.map((a) => a.transport + " " + a.token), ["stream one", "stream two"]);
});

test("a refused token without a function ends the watch and says so", async () => {
  relay.token = "another";
  await watch();
  assert.equal(await ended(), "Error: token refused");
  assert.equal(relay.attempts.length, 1);
});

test("a token that arrives in band is used for reconnecting", async () => {
  await watch();
  await seen("pending v1", "live");
  relay.send({ type: "token", token: "two", expires_at: "2026-11-22T11:00:00Z" });
  relay.raw("{}");
  await page.waitForTimeout(50);
  relay.drop();
  await until(() => relay.attempts.length == 2, "it reconnected");
  assert.equal(relay.attempts[1].token, "two");
});

test("what may have killed the connection makes it fetch the state at once", async () => {
  await watch();
  await seen("pending v1", "live");
  for (const [i, cause] of ["window, 'online'", "window, 'offline'", "document, 'visibilitychange'"].entries()) {
    const [target, type] = cause.split(", ");
    const since = Date.now();
    await page.evaluate(`${target}.dispatchEvent(new Event(${type}, { bubbles: true }))`);
    await until(() => relay.attempts.length == i + 2, `${cause} made it reconnect`);
    assert.ok(Date.now() - since < 1000, `${cause}: took ${Date.now() - since} ms`);
  }
});

test("being offline is told after 2 s and does not end the watch", async () => {
  await watch();
  await seen("pending v1", "live");
  await page.context().setOffline(true);
  await seen("pending v1", "live", "offline");
  await page.context().setOffline(false);
  // Over a socket or a stream the state comes again before the link; a long poll brings only what is newer.
  await page.waitForFunction(() => /"offline",("pending v1",)?"live"\]$/.test(JSON.stringify(seen)), null, { timeout: 10000 });
});

test("closing stops everything and rejects final", async () => {
  await watch("token: 'one', signal: (window.stop = new AbortController()).signal");
  await seen("pending v1", "live");
  await page.evaluate("stop.abort()");
  assert.match(await ended(), /^AbortError/);
  await until(() => relay.sockets.size == 0, "the socket was closed");
  relay.send(status(2, "succeeded"));
  await page.waitForTimeout(600);
  assert.equal(relay.attempts.length, 1);
  await page.evaluate("window.ended = ''; DollrRelay.watch({ token: 'one', signal: AbortSignal.abort() }).final.catch((e) => (ended = e.name)); void 0");
  assert.equal(await ended(), "AbortError");
  assert.equal(relay.attempts.length, 1);
});

test("the module does the same", async () => {
  relay.body = "";
  await page.goto(relay.url + "/");
  relay.send(status(5, "succeeded"));
  const last = await page.evaluate(async (url) => {
    const { watch } = await import(url);
    return (await watch({ token: "one" }).final).version;
  }, relay.url + "/v1/relay.mjs");
  assert.equal(last, 5);
});
