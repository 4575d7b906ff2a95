// The status page in a browser with JavaScript switched off: the whole of it is what the server sends.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessible, launch, open, phone, picture } from "./browser.js";
import { System } from "./system.js";

let browser, system;

before(async () => {
  system = await new System().start();
  browser = await launch();
});
after(async () => {
  await browser.close();
  await system.stop();
});

const view = (payment, query = "") => `${system.proxy.url}/v1/page/view?token=${payment.token}${query}`;
const state = (page, want) => page.locator(`main[data-state=${want}]`).waitFor({ timeout: 30_000 });
const refresh = (page) => page.locator("meta[http-equiv=refresh]").count();

test("without JavaScript the page follows the payment to its end, in the customer's language", async () => {
  const payment = await system.pay();
  const page = await open(browser, { javaScriptEnabled: false, locale: "fr-CD", viewport: phone });
  let pages = 0;
  page.on("load", () => pages++);
  await page.goto(view(payment));
  await page.getByRole("heading", { name: "En attente de votre paiement" }).waitFor();
  while (pages < 2) await page.waitForEvent("load", { timeout: 30_000 }); // it has loaded itself again
  await system.settle(payment);
  await system.verified(payment);
  await state(page, "succeeded");
  await page.getByRole("status").getByText("Paiement reçu").waitFor();
  assert.equal(await refresh(page), 0, "a final page stays as it is");
  await page.getByRole("link", { name: "العربية" }).click();
  await page.getByRole("heading", { name: "تم استلام الدفع" }).waitFor();
  assert.equal(await page.locator("html[dir=rtl]").count(), 1);
  assert.deepEqual(page.problems, [], "the page reported errors");
  await page.context().close();
});

test("the page is fit for everybody", async () => {
  const payments = {};
  for (const [name, status] of [["waiting"], ["succeeded", "COMPLETED"], ["failed", "FAILED"]]) {
    payments[name] = await system.pay();
    if (status) {
      await system.settle(payments[name], status);
      await system.verified(payments[name]);
    }
  }
  payments.gone = { token: "junk" };
  for (const [look, lang, options] of [
    ["desktop", "en", {}],
    ["phone", "ar", { viewport: phone }],
    ["dark", "fr", { colorScheme: "dark" }],
  ]) {
    const page = await open(browser, options);
    for (const [name, payment] of Object.entries(payments)) {
      await page.goto(view(payment, `&lang=${lang}`));
      await state(page, name);
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false, "nothing is cut off");
      await picture(page, `view-${name}-${look}`);
      await accessible(page, { without: ["meta-refresh"] }); // how else would it change, without JavaScript
    }
    assert.deepEqual(page.problems, [], "the page reported errors");
    await page.context().close();
  }
});
