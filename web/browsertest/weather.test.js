// The built relay and the page script together, through everything that networks, browsers and proxies do to a
// connection. Where it takes long the browser's clock runs ahead.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { accessible, launch, open } from "./browser.js";
import { System } from "./system.js";

let browser, system, page, payment;

before(async () => {
  system = await new System().start();
  browser = await launch();
});
after(async () => {
  await browser.close();
  await system.stop();
});
beforeEach(async () => {
  payment = await system.pay();
  page = await open(browser);
});
afterEach(async () => {
  Object.assign(system.proxy, { stripUpgrade: false, buffer: "" });
  assert.deepEqual(page.problems, [], "the page reported errors");
  await page.context().close();
});

/** A merchant's checkout page of its own origin. */
function checkout(token, tag = `<script src="${system.proxy.url}/v1/relay.js" defer></script>`, headers = {}) {
  system.page = {
    headers,
    html: `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Checkout</title>${tag}</head>
      <body><main><h1>Checkout</h1><dollr-status token="${token}"></dollr-status></main></body></html>`,
  };
}
async function shows(tab, state, timeout = 20_000) {
  await tab.locator(`dollr-status[state=${state}]`).waitFor({ timeout });
}
async function arrive(clock = false) {
  checkout(payment.token);
  system.proxy.asked = [];
  if (clock) await page.clock.install();
  await page.goto(system.merchantURL);
}
/** Lets the page's clock run, with a little real time in each second for the network. */
async function run(seconds) {
  for (let i = 0; i < seconds; i++) {
    await page.clock.runFor(1000);
    await page.waitForTimeout(20);
  }
}
const linked = () => page.locator("dollr-status:not([link='']):not([link=offline])").waitFor();

test("a proxy that strips Upgrade: server-sent events", async () => {
  system.proxy.stripUpgrade = true;
  await arrive();
  await linked();
  assert.deepEqual(system.proxy.asked, ["stream", "events"]);
  await system.settle(payment);
  await shows(page, "succeeded");
});

for (const buffer of ["all", "body"])
  test(`a proxy that holds events back, too (${buffer}): long polling`, async () => {
    Object.assign(system.proxy, { stripUpgrade: true, buffer });
    await arrive(true);
    await run(12);
    await linked();
    assert.deepEqual([...new Set(system.proxy.asked)], ["stream", "events", "status"]);
    await system.settle(payment);
    await run(5);
    await shows(page, "succeeded");
  });

test("connections cut every 30 s: the same transport again, and the customer is not bothered", async () => {
  await arrive(true);
  await linked();
  await page.evaluate(() => {
    window.offline = 0;
    document.querySelector("dollr-status").addEventListener("link", (e) => (offline += e.detail.link == "offline"));
  });
  for (let i = 0; i < 4; i++) {
    await run(30);
    system.proxy.cut();
    await run(2);
  }
  await system.settle(payment);
  await run(2);
  await shows(page, "succeeded");
  assert.deepEqual(system.proxy.asked, Array(5).fill("stream"));
  assert.equal(await page.evaluate("offline"), 0);
});

test("a socket that dies without a close is found dead after 35 s", async () => {
  await arrive(true);
  await linked();
  system.proxy.freeze();
  await system.settle(payment);
  await system.verified(payment);
  await run(30);
  assert.notEqual(await page.locator("dollr-status").getAttribute("state"), "succeeded", "nothing came through");
  await run(7);
  await shows(page, "succeeded");
});

test("back from the back-forward cache: the state within a second", async () => {
  await arrive();
  await linked();
  await page.evaluate(() => {
    window.marked = true;
    addEventListener("pageshow", (e) => (window.persisted = e.persisted));
  });
  await page.goto("about:blank");
  await system.settle(payment);
  await system.verified(payment);
  await page.goBack({ waitUntil: "commit" });
  await shows(page, "succeeded", 1000);
  assert.deepEqual(await page.evaluate("[window.marked, window.persisted]"), [true, true], "the page was kept, not loaded again");
});

test("offline and back: the state within a second", async () => {
  await arrive();
  await linked();
  await page.context().setOffline(true);
  await page.locator("dollr-status[link=offline]").waitFor();
  assert.equal(await page.locator("dollr-status").getAttribute("state"), "waiting");
  await system.settle(payment);
  await system.verified(payment);
  await page.context().setOffline(false);
  await shows(page, "succeeded", 1000);
});

test("the relay restarts: what became of the payment meanwhile is shown", async () => {
  await arrive();
  await linked();
  await system.stopRelay();
  await page.locator("dollr-status[link=offline]").waitFor();
  assert.equal(await page.locator("dollr-status").getAttribute("state"), "waiting");
  await system.settle(payment);
  await system.startRelay();
  await shows(page, "succeeded");
});

test("twenty tabs: one connection, and each sees the end", async () => {
  await arrive();
  await linked();
  const tabs = [page];
  for (let i = 1; i < 20; i++) {
    const tab = await page.context().newPage();
    checkout(await system.token(payment)); // each has a token of its own
    await tab.goto(system.merchantURL);
    await tab.locator("dollr-status:not([link=''])").waitFor();
    tabs.push(tab);
  }
  let open;
  for (let i = 0; i < 100 && (open = await system.pages()).websocket != 1; i++) await page.waitForTimeout(50);
  assert.deepEqual(open, { websocket: 1 });
  await system.settle(payment);
  for (const tab of tabs) await shows(tab, "succeeded");
  assert.equal(system.proxy.asked.length, 20, "each tab asked once");
});

test("the strictest policy, and the tag that the documentation prints", async () => {
  const docs = await fetch(`${system.proxy.url}/docs`).then((a) => a.text());
  const tag = docs.match(/<pre[^>]*><code>(.*?)\n&lt;dollr-status/s)[1];
  const unescaped = tag.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&#34;|&quot;/g, '"').replace(/&#43;/g, "+");
  assert.match(unescaped, /integrity="sha384-/);
  checkout(payment.token, unescaped, {
    "content-security-policy": `default-src 'none'; script-src ${system.proxy.url}; connect-src ${system.proxy.url} ${system.proxy.url.replace("http", "ws")}; require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'; form-action 'none'`,
  });
  await page.goto(system.merchantURL);
  await linked();
  await accessible(page);
  assert.equal(await page.locator("dollr-status [part=box]").evaluate((e) => getComputedStyle(e).display), "flex", "its style applies");
  await system.settle(payment);
  await shows(page, "succeeded");
  await accessible(page);
});

test("a relay that is down when the page loads: the element's own content is shown, until there is more to say", async () => {
  checkout(payment.token);
  system.page.html = system.page.html.replace("></dollr-status>", ">We are waiting for your payment.</dollr-status>");
  const drawn = () =>
    page.evaluate(() => {
      const content = document.createRange();
      content.selectNodeContents(document.querySelector("dollr-status"));
      return content.getClientRects().length > 0;
    });
  await system.stopRelay();
  await page.goto(system.merchantURL);
  assert.equal(await drawn(), true);
  await system.startRelay();
  await page.reload();
  await linked();
  assert.equal(await drawn(), false);
});

test("bytes that are not those of the hash do not run", async () => {
  const wrong = `sha384-${"A".repeat(64)}`;
  checkout(payment.token, `<script src="${system.proxy.url}/v1/relay.js" integrity="${wrong}" crossorigin="anonymous" defer></script>`);
  await page.goto(system.merchantURL);
  await page.waitForFunction(() => document.readyState == "complete");
  assert.equal(await page.evaluate("typeof DollrRelay"), "undefined");
  assert.match(page.problems.join(), /integrity/);
  page.problems.length = 0;
});
