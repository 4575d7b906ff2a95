// The operator console of the built binary, in calm and in trouble: it is live without reloading, its buttons do what they
// say, and it fits a phone.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { accessible, launch, open, phone, picture } from "./browser.js";
import { System } from "./system.js";

const system = new System();
let browser, page;
const timeout = 30000;

before(async () => {
  await system.start((merchant) => ({
    RELAY_CALLBACK_URLS: `${merchant}/hooks/dollr`,
    RELAY_CALLBACK_SECRETS: `whsec_${Buffer.from("s".repeat(32)).toString("base64")}`,
    RELAY_CALLBACK_SCHEDULE: "0s,1s,1s,1s",
    RELAY_POLL_MIN: "500ms",
  }));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await system.stop();
});

beforeEach(async () => {
  system.hook = { status: 204, body: "" };
  page = await open(browser);
});

afterEach(async () => {
  assert.deepEqual(page.problems, [], "the page reported errors");
  await page.context().close();
});

const address = (path) => `http://127.0.0.1:${system.adminPort}${path}`;
const headline = (page, text) => page.locator("#headline").getByText(text).waitFor({ timeout });

/** Opens a page and marks it, so that a reload would be noticed. */
async function visit(path, options) {
  if (options) {
    await page.context().close();
    page = await open(browser, options);
  }
  await page.goto(address(path));
  await page.locator("#pulse[data-state=live]").waitFor({ timeout });
  await page.evaluate("window.marked = true");
}
const reloaded = async () => !(await page.evaluate("window.marked"));

/** The page fits: nothing makes it scroll sideways, and axe-core finds nothing. */
async function sound() {
  const [content, width] = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]");
  assert.ok(content <= width, `the page is ${content} wide in a window of ${width}`);
  await accessible(page);
}

test("a payment appears, is paid and settles without a reload", async () => {
  await visit("/");
  await headline(page, "No payment is waiting");
  await sound();
  await picture(page, "console-calm", { fullPage: true });
  const payment = await system.pay({ metadata: { order: "1042", customer: "Wanjiru & Sons <b>" }, expected: { amount: "250.00", currency: "USD", side: "payee" } });
  const row = page.locator(`[aria-labelledby=newest] [data-key="${payment.id}"]`);
  await row.getByText("pending").waitFor({ timeout });
  await headline(page, "1 payment waiting, live");
  await picture(page, "console-waiting", { fullPage: true });
  await system.settle(payment);
  await row.getByText("succeeded").waitFor({ timeout });
  await headline(page, "No payment is waiting");
  assert.equal(await reloaded(), false);
});

test("the search finds an order, and its payment tells its life", async () => {
  system.hook = { status: 500, body: "<h1>out of order</h1>" };
  const payment = await system.pay({ metadata: { order: "2001" } });
  await visit("/");
  await page.keyboard.press("/");
  await page.keyboard.type("2001");
  await page.keyboard.press("Enter");
  await page.waitForURL(`**/payments/${payment.id}`);
  await page.evaluate("window.marked = true");
  await system.settle(payment, "PROCESSING");
  await page.locator(".timeline").getByText("Dollr says PROCESSING").waitFor({ timeout });
  await system.settle(payment);
  await page.locator("h1").getByText("succeeded").waitFor({ timeout });
  await page.locator(".attempts li").nth(1).waitFor({ timeout });
  await page.locator(".callback .badge").getByText("Given up").waitFor({ timeout });
  await page.locator(".attempts summary").first().click();
  await page.locator(".attempts pre").first().getByText("<h1>out of order</h1>").waitFor();
  await sound();
  await picture(page, "console-payment", { fullPage: true });

  system.hook.status = 204;
  await page.getByRole("button", { name: "Redeliver payment.succeeded" }).click();
  await page.locator("#said").getByText("The callback is due now").waitFor({ timeout });
  await page.locator(".callback .badge").getByText("Delivered").waitFor({ timeout });
  assert.equal(await page.locator(".attempts details").first().getAttribute("open"), "", "what a person opened stays open");
  await page.getByRole("button", { name: "Verify now" }).click();
  await page.locator("#said").getByText("Nothing has changed").waitFor({ timeout });
  assert.equal(await reloaded(), false);
  await picture(page, "console-payment-delivered", { fullPage: true });
  for (const [name, options] of [
    ["phone", { viewport: phone }],
    ["dark", { colorScheme: "dark" }],
  ]) {
    await visit(`/payments/${payment.id}`, options);
    await sound();
    await picture(page, `console-payment-${name}`, { fullPage: true });
  }
});

test("trouble is said in words, and ends by itself", async () => {
  const payments = [];
  for (let i = 0; i < 3; i++) payments.push(await system.pay({ metadata: { order: `300${i}` } }));
  await visit("/");
  await headline(page, "3 payments waiting, all live");
  await system.weather({ realtime_down: true });
  await headline(page, "Realtime is down, polling instead; 3 payments waiting.");
  await sound();
  await picture(page, "console-realtime-down", { fullPage: true });
  await system.weather({ realtime_down: true, dollr_down: true });
  await headline(page, "Dollr cannot be reached; 3 payments waiting.");
  await page.locator(".ages").getByText("3 degraded").waitFor({ timeout });
  await sound();
  await picture(page, "console-trouble", { fullPage: true });
  await visit("/", { viewport: phone, colorScheme: "dark" });
  await sound();
  await picture(page, "console-trouble-phone-dark", { fullPage: true });
  await system.weather({});
  await headline(page, "All is well.");
  for (const payment of payments) await system.settle(payment);
  await headline(page, "No payment is waiting");
  assert.equal(await reloaded(), false);
});

test("every page fits a phone, in light and dark", async () => {
  system.hook = { status: 410, body: "gone" };
  const payment = await system.pay({ metadata: { order: "4".repeat(120), note: "a note that is so long that it must wrap" }, expected: { amount: "1.00", currency: "USD" } });
  await system.settle(payment);
  await visit("/");
  await page.locator("#attention").waitFor({ timeout });
  for (const [name, path] of Object.entries({
    overview: "/",
    payments: "/payments",
    open: "/payments?outcome=pending&age=2m&link=live",
    nothing: "/payments?q=nothing",
    payment: `/payments/${payment.id}`,
    callbacks: "/callbacks",
    unknown: "/payments/pay_unknown",
  })) {
    for (const colorScheme of ["light", "dark"]) {
      await visit(path, { viewport: phone, colorScheme });
      await sound();
      if (colorScheme == "light" || name == "overview") await picture(page, `console-phone-${name}-${colorScheme}`, { fullPage: true });
    }
  }
});

test("it works without script", async () => {
  const payment = await system.pay({ metadata: { order: "5001" } });
  await page.context().close();
  page = await open(browser, { javaScriptEnabled: false });
  await page.goto(address("/"));
  await page.getByRole("searchbox").fill("5001");
  await page.getByRole("button", { name: "Search" }).click();
  await page.waitForURL(`**/payments/${payment.id}`);
  await system.settle(payment);
  await page.getByRole("button", { name: "Verify now" }).click();
  await page.locator("#said").getByText("Dollr was asked").waitFor({ timeout });
  await page.locator("h1").getByText("succeeded").waitFor({ timeout });
  await page.goto(address("/"));
  await page.getByRole("button", { name: "Reconcile now" }).click();
  await page.locator("#said").getByText("A sweep").waitFor({ timeout });
});

test("when the relay is gone the page says so, and is true again when it is back", async () => {
  await visit("/");
  await system.stopRelay();
  await page.locator("#pulse[data-state=lost]").waitFor({ timeout });
  await system.startRelay();
  await page.locator("#pulse[data-state=live]").waitFor({ timeout });
  await page.getByRole("button", { name: "Reconcile now" }).click(); // with the token of the new process
  await page.locator("#said").getByText("A sweep").waitFor({ timeout });
  assert.equal(await reloaded(), false);
});
