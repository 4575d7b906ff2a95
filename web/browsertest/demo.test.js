// The five stories of the demo, driven in a browser against the built binary: approve, decline, slow,
// realtime cut, Dollr broken. Each looks at both sides: the customer's page and the shop's backend.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { accessible, launch, open, phone, picture } from "./browser.js";

const binary = process.env.DOLLR_RELAY_BIN;
let browser, demo, address;

before(async () => {
  assert.ok(binary, "DOLLR_RELAY_BIN must name the built binary");
  demo = spawn(binary, ["demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"], { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface(demo.stdout)) {
    address = line.match(/http:\S+/)?.[0];
    if (address) break;
  }
  assert.ok(address, "the demo prints where the shop is");
  browser = await launch();
});

after(async () => {
  await browser?.close();
  const ended = once(demo, "exit");
  demo.kill("SIGTERM");
  const [code] = await ended;
  assert.equal(code, 0, "the demo stops when it is asked to");
});

/** Buys the lamp and waits until the relay follows the payment. */
async function buy(options = {}) {
  const page = await open(browser, options);
  await page.goto(address);
  await page.getByRole("button", { name: "Buy Solar lamp" }).click();
  await page.locator("#timeline li").nth(1).waitFor();
  return page;
}

const element = (page) => page.locator("dollr-status");
const title = (page, text) => element(page).locator("[part=title]").getByText(text, { exact: true }).waitFor({ timeout: 30000 });
const order = (page, state) => page.locator(`#state[data-state="${state}"]`).waitFor({ timeout: 30000 });
const press = (page, name) => page.getByRole("button", { name, exact: true }).click();
/** Turns a switch of the weather and waits until it has turned: a page that is left before takes the wish with it. */
async function flip(page, name) {
  const turned = page.waitForResponse((answer) => answer.request().method() == "PUT" && answer.ok());
  await page.getByText(name).click();
  await turned;
}
const link = (page, state) => page.locator(`dollr-status[link=${state}]`).waitFor({ timeout: 60000 });
const received = (page) => page.locator("#callbacks .type").allTextContents();
const timeline = (page) => page.locator("#timeline .via").allTextContents();

async function done(page) {
  await accessible(page);
  assert.deepEqual(page.problems, [], "the page reported errors");
  await page.context().close();
}

test("the shop looks as it should", async () => {
  for (const [name, options] of [
    ["desktop", {}],
    ["phone", { viewport: phone }],
    ["dark", { colorScheme: "dark" }],
  ]) {
    const page = await open(browser, options);
    await page.goto(address);
    assert.equal(await page.getByRole("button", { name: /Buy/ }).count(), 3);
    await picture(page, `shop-${name}`, { fullPage: true });
    await done(page);
  }
});

test("without JavaScript: the order page leads to a status page", async () => {
  const page = await open(browser, { javaScriptEnabled: false, viewport: phone });
  await page.goto(address);
  await page.getByRole("button", { name: "Buy Solar lamp" }).click();
  const link = page.getByRole("link", { name: "See how your payment stands" });
  await link.waitFor();
  await picture(page, "demo-noscript-phone");
  await link.click();
  await page.getByRole("heading", { name: "Waiting for your payment" }).waitFor();
  assert.deepEqual(page.problems, [], "the page reported errors");
  await page.context().close();
});

test("approve: the order is fulfilled by the verified callback", async () => {
  const page = await buy();
  await title(page, "Waiting for your payment");
  await order(page, "awaiting payment");
  await picture(page, "demo-waiting");
  await press(page, "Approve");
  await title(page, "Payment received");
  await order(page, "fulfilled");
  assert.deepEqual(await received(page), ["payment.succeeded"]);
  const via = await timeline(page);
  assert.ok(via.includes("realtime") && via.includes("verify"), `heard from realtime and verified: ${via}`);
  await page.locator("summary").click();
  assert.match(await page.locator("pre").textContent(), /webhook-signature: v1,/);
  await picture(page, "demo-approved", { fullPage: true });
  await done(page);
});

test("decline: the customer is told, the goods go back", async () => {
  const page = await buy({ viewport: phone });
  await press(page, "Decline");
  await title(page, "Payment failed");
  await order(page, "released");
  assert.deepEqual(await received(page), ["payment.failed"]);
  await picture(page, "demo-declined-phone", { fullPage: true });
  await done(page);
});

test("slow: after a minute the page says not to pay again, and nothing is shipped", async () => {
  const page = await open(browser, { colorScheme: "dark" });
  await page.clock.install();
  await page.goto(address);
  await page.getByRole("button", { name: "Buy Solar lamp" }).click();
  await page.getByRole("button", { name: /three minutes/ }).click();
  await title(page, "Waiting for your payment");
  await page.clock.fastForward(61_000);
  await element(page).getByText(/not pay again/).waitFor();
  await order(page, "awaiting payment");
  assert.deepEqual(await received(page), []);
  await picture(page, "demo-slow-dark", { fullPage: true });
  await done(page);
});

test("realtime cut: polling brings the same end", async () => {
  const page = await buy();
  await flip(page, "Cut realtime");
  await link(page, "polling");
  await press(page, "Approve");
  await title(page, "Payment received");
  await order(page, "fulfilled");
  const via = await timeline(page);
  assert.ok(via.includes("poll"), `settled by a poll: ${via}`);
  await picture(page, "demo-realtime-cut", { fullPage: true });
  await flip(page, "Cut realtime");
  await done(page);
});

test("Dollr broken: nobody is told 'failed', and the truth arrives when it is back", async () => {
  const page = await buy();
  await link(page, "live"); // the story before had cut it
  await flip(page, "Break Dollr");
  await press(page, "Approve");
  await title(page, "Confirming your payment");
  await element(page).getByText("This is taking longer than usual.").waitFor({ timeout: 30000 });
  await order(page, "awaiting payment");
  await picture(page, "demo-dollr-broken", { fullPage: true });
  const said = await element(page).locator("[part=title]").textContent();
  assert.doesNotMatch(said, /fail/i);
  await flip(page, "Break Dollr");
  await title(page, "Payment received");
  await order(page, "fulfilled");
  assert.deepEqual(await received(page), ["payment.succeeded"]);
  await done(page);
});
