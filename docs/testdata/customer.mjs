// The customer of a guide's shop, in Chromium: buys, waits, pays at the sandbox and is thanked. Arguments: the shop's URL and
// the sandbox's. Exits with 0 if all was well.
import assert from "node:assert/strict";
import { launch, open } from "../../web/browsertest/browser.js";

const [shop, sandbox] = process.argv.slice(2);
const browser = await launch();
try {
  const page = await open(browser);
  page.setDefaultTimeout(30_000);
  await page.goto(shop);
  await page.getByRole("button").first().click();
  const status = page.locator("dollr-status");
  const linked = () => page.locator("dollr-status[state=waiting][link=live]").waitFor();
  await linked();
  assert.equal(await status.getAttribute("role"), "status");

  // A token that the relay refuses, as one is after a night: the page brings a fresh one by itself.
  await page.waitForTimeout(1000); // tokens of the same second are the same
  await status.evaluate((element) => element.setAttribute("token", "old"));
  await page.waitForFunction(() => document.querySelector("dollr-status").getAttribute("token").length > 100);
  await linked();

  const { data } = await fetch(`${sandbox}/_sandbox/payments`).then((answer) => answer.json());
  const settled = await fetch(`${sandbox}/_sandbox/payments/${data.at(-1).reference_id}/status`, { method: "PUT", body: '{"status":"COMPLETED"}' });
  assert.ok(settled.ok);
  await page.locator("dollr-status[state=succeeded]").waitFor();
  await page.waitForURL("**/thanks");
  await page.getByText("Thank you").waitFor();
  assert.deepEqual(page.problems, [], "the browser reported errors");
} finally {
  await browser.close();
}
