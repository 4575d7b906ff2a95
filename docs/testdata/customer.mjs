// The customer of a guide's shop, in Chromium: buys, waits, pays at the sandbox and is thanked. Arguments: the shop's URL, the
// sandbox's, and perhaps "own" for a page that draws the state itself. Exits with 0 if all was well.
import assert from "node:assert/strict";
import { launch, open } from "../../web/browsertest/browser.js";

const [shop, sandbox, own] = process.argv.slice(2);
const browser = await launch();

/** Dollr's customer approves the newest payment on the phone. */
async function approve() {
  const settled = await fetch(`${sandbox}/_sandbox/payments/latest/status`, { method: "PUT", body: '{"status":"COMPLETED"}' });
  assert.ok(settled.ok, "the sandbox refused");
}

async function withElement(page) {
  const status = page.locator("dollr-status");
  const linked = () => page.locator("dollr-status[state=waiting][link=live]").waitFor();
  await linked();
  assert.equal(await status.getAttribute("role"), "status");

  // A token that the relay refuses, as one is after a night: the page brings a fresh one by itself.
  await status.evaluate((element) => element.setAttribute("token", "old"));
  await page.waitForFunction(() => document.querySelector("dollr-status").getAttribute("token").length > 100);
  await linked();

  await approve();
  await page.locator("dollr-status[state=succeeded]").waitFor();
  await page.waitForURL("**/thanks");
  await page.getByText("Thank you").waitFor();
}

async function withOwnWords(page) {
  await page.waitForURL("**/orders/*");
  await page.goto(`${page.url()}/own`);
  await page.getByText("Please confirm on your phone.").waitFor();
  await approve();
  await page.getByText("Paid. We are packing.").waitFor();
}

try {
  const page = await open(browser);
  page.setDefaultTimeout(30_000);
  await page.goto(shop);
  await page.getByRole("button").first().click();
  await (own ? withOwnWords : withElement)(page);
  assert.deepEqual(page.problems, [], "the browser reported errors");
} finally {
  await browser.close();
}
