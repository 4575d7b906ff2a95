// One connection for each browser and payment: the tab that connected last has it and tells the others.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { launch } from "./browser.js";
import { FakeRelay, status } from "./fakerelay.js";

let browser, relay, context, problems;

before(async () => (browser = await launch()));
after(() => browser.close());
beforeEach(async () => {
  relay = await new FakeRelay().start();
  relay.body = "";
  context = await browser.newContext();
  problems = [];
  context.on("weberror", (error) => problems.push(String(error.error())));
});
afterEach(async () => {
  await context.close();
  await relay.stop();
  assert.deepEqual(problems, [], "a tab reported errors");
});

async function tab() {
  const page = await context.newPage();
  await page.goto(relay.url);
  await page.evaluate(() => {
    window.seen = [];
    window.w = DollrRelay.watch({ token: "one" });
    w.addEventListener("status", (e) => seen.push("v" + e.detail.version));
    w.addEventListener("link", (e) => seen.push(e.detail.link));
    w.final.then((s) => (window.ended = s.outcome), () => {});
  });
  await page.waitForFunction(() => seen.includes("live"));
  return page;
}
async function until(condition, what) {
  const deadline = Date.now() + 5000;
  while (!condition()) {
    assert.ok(Date.now() < deadline, `waited in vain until ${what}; ${relay.sockets.size} sockets, attempts ${JSON.stringify(relay.attempts)}`);
    await new Promise((next) => setTimeout(next, 10));
  }
}
const oneConnection = () => until(() => relay.sockets.size == 1, "one connection is left");
const sees = (page, what) => page.waitForFunction((what) => seen.includes(what), what, { timeout: 5000 });

test("all tabs hear by one connection, also the end", async () => {
  const tabs = [await tab(), await tab(), await tab()];
  await oneConnection();
  assert.equal(relay.attempts.length, 3, "each tab asks for the state once");
  relay.send(status(2));
  for (const page of tabs) await sees(page, "v2");
  relay.send(status(3, "succeeded"));
  for (const page of tabs) await page.waitForFunction(() => window.ended == "succeeded");
  await until(() => relay.sockets.size == 0, "the connection is closed");
  assert.equal(relay.attempts.length, 3);
  for (const page of tabs) assert.ok(!(await page.evaluate("seen")).includes("offline"), "a tab that follows is not offline");
});

test("when the tab with the connection goes, another one takes over", async () => {
  const [first, second] = [await tab(), await tab()];
  await oneConnection();
  const since = Date.now();
  await second.close({ runBeforeUnload: false });
  await until(() => relay.attempts.length == 3, "the first tab connects");
  assert.ok(Date.now() - since < 4000, `it took ${Date.now() - since} ms`);
  relay.send(status(2));
  await sees(first, "v2");
});

test("a tab that is looked at fetches the state itself, and has the connection from then on", async () => {
  const [first, second] = [await tab(), await tab()];
  await oneConnection();
  relay.state = status(2); // sent to new connections only
  await first.evaluate("document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))");
  await sees(first, "v2");
  await sees(second, "v2");
  await oneConnection();
  assert.equal(relay.attempts.length, 3);
});

test("what a new tab is told first the others hear, too", async () => {
  const first = await tab();
  relay.state = status(2); // sent to new connections only
  await tab();
  await sees(first, "v2");
  assert.equal(relay.attempts.length, 2);
});

test("a tab whose leader says nothing for 35 s helps itself", async () => {
  await context.clock.install();
  const [first, second] = [await tab(), await tab()];
  await oneConnection();
  await second.evaluate("BroadcastChannel.prototype.postMessage = () => {}"); // what being frozen comes to for the others
  relay.state = status(2);
  for (let i = 0; i < 34; i++) {
    if (i == 20) relay.send({ type: "ping" });
    await context.clock.runFor(1000);
  }
  assert.equal(relay.attempts.length, 2, "it gave up before 35 s");
  for (let i = 0; i < 4; i++) await context.clock.runFor(1000);
  await sees(first, "v2");
  await oneConnection();
});

test("tabs of different payments do not share", async () => {
  const first = await tab();
  const other = await context.newPage();
  await other.goto(relay.url);
  await other.evaluate("DollrRelay.watch({ token: 'two' }); void 0");
  await until(() => relay.sockets.size == 2, "both are connected");
  await first.waitForTimeout(200);
  assert.equal(relay.sockets.size, 2);
});
