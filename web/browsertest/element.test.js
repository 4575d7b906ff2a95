// What <dollr-status> says and how it looks, in a page with the strictest policy.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { accessible, desktop, launch, open, phone, picture } from "./browser.js";
import { FakeRelay, hint, status } from "./fakerelay.js";

let browser, relay, page;

before(async () => (browser = await launch()));
after(() => browser.close());
beforeEach(async () => (relay = await new FakeRelay().start()));
afterEach(async () => {
  assert.deepEqual(page.problems, [], "the page reported errors");
  await page.context().close();
  await relay.stop();
});

const element = () => page.locator("dollr-status").first();
const title = () => element().locator("[part=title]");
const note = () => element().locator("[part=note]");
async function says(locator, text) {
  await locator.getByText(text, { exact: true }).or(locator.and(page.getByText(text, { exact: true }))).first().waitFor({ timeout: 5000 })
    .catch(async () => assert.equal(await locator.textContent(), text));
}

test("each state has its words, its attribute and its own sign", async () => {
  page = await open(browser);
  const signs = new Set();
  const states = [
    ["waiting", "Waiting for your payment", status(1)],
    ["confirming", "Confirming your payment", hint(1, "succeeded")],
    ["confirming", "Confirming your payment", hint(1, "failed")],
    ["succeeded", "Payment received", status(2, "succeeded")],
    ["failed", "Payment failed", status(2, "failed")],
    ["canceled", "Payment canceled", status(2, "canceled")],
    ["mismatch", "We are reviewing your payment", status(2, "mismatch")],
    ["expired", "No confirmation yet", status(2, "expired")],
  ];
  for (const [state, text, message] of states) {
    relay.state = message;
    await page.goto(relay.url);
    await page.locator(`dollr-status[state=${state}]`).waitFor();
    await says(title(), text);
    assert.equal(await element().getAttribute("role"), "status");
    signs.add(await element().locator("path").getAttribute("d"));
    if (state == "mismatch" || state == "expired") await says(note(), "Your payment is still being checked. Do not pay again.");
  }
  assert.equal(signs.size, 7, "two states share a sign");
});

test("after 60 s it says that the payment is being checked and must not be paid again", async () => {
  page = await open(browser);
  await page.clock.install();
  await page.goto(relay.url);
  await page.clock.runFor(100);
  await says(title(), "Waiting for your payment");
  assert.equal(await note().textContent(), "");
  for (let i = 0; i < 61; i++) {
    if (i % 25 == 24) relay.send({ type: "ping" });
    await page.clock.runFor(1000);
  }
  await says(note(), "Your payment is still being checked. Do not pay again.");
  relay.send(status(2, "succeeded"));
  await says(title(), "Payment received");
  assert.equal(await note().textContent(), "");
});

test("trouble with the connection is an addition and never reads as failed", async () => {
  page = await open(browser);
  await page.goto(relay.url);
  await says(title(), "Waiting for your payment");
  relay.send({ type: "link", link: "degraded" });
  await says(note(), "This is taking longer than usual.");
  await page.context().setOffline(true);
  await says(note(), "Reconnecting…");
  assert.equal(await element().getAttribute("state"), "waiting");
  relay.link = "live";
  await page.context().setOffline(false);
  await page.locator("dollr-status[link=live]").waitFor();
  assert.equal(await note().textContent(), "");
});

test("it dispatches the watch's events, and token when the token is refused", async () => {
  page = await open(browser);
  relay.body = "";
  relay.token = "two";
  await page.goto(relay.url);
  await page.evaluate(() => {
    window.seen = [];
    const e = document.createElement("dollr-status");
    e.addEventListener("status", (s) => seen.push(s.detail.outcome));
    e.addEventListener("link", (s) => seen.push(s.detail.link));
    e.addEventListener("token", () => (seen.push("token"), e.setAttribute("token", "two")));
    e.setAttribute("token", "one");
    document.body.append(e);
  });
  await page.waitForFunction(() => seen.join() == "offline,token,pending,live");
  assert.deepEqual(relay.attempts.map((a) => a.token), ["one", "two"]);
});

test("while every token is refused it asks for one less and less often", async () => {
  page = await open(browser);
  relay.token = "none of them";
  relay.body = "";
  await page.clock.install();
  await page.goto(relay.url);
  await page.evaluate(() => {
    const e = document.createElement("dollr-status");
    e.addEventListener("token", () => e.setAttribute("token", "again"));
    e.setAttribute("token", "one");
    document.body.append(e);
  });
  for (let i = 0; i < 30 || relay.attempts.length < 4; i++) {
    assert.ok(i < 300, `${relay.attempts.length} attempts in 300 s`);
    await page.clock.runFor(1000);
    await page.waitForTimeout(20);
    assert.ok(relay.attempts.length < 12, `${relay.attempts.length} attempts in ${i} s`); // the first at once, then after 1, 2, 3, … s
  }
});

test("languages come from the element, the page or the browser, and Arabic runs right to left", async () => {
  page = await open(browser, { locale: "pt-BR" });
  relay.state = status(2, "succeeded");
  relay.body = `<dollr-status token="a" lang="fr"></dollr-status><div lang="ar-EG"><dollr-status token="b"></dollr-status></div>
    <dollr-status token="c"></dollr-status><dollr-status token="d" lang="sw"></dollr-status><dollr-status token="e" lang="xx"></dollr-status>
    <dollr-status token="f" lang="fr" text-succeeded="Merci !"></dollr-status>`;
  await page.goto(relay.url);
  await page.waitForFunction(() => document.querySelectorAll("dollr-status[state=succeeded]").length == 6);
  const shown = await page.evaluate(() =>
    [...document.querySelectorAll("dollr-status")].map((e) => e.shadowRoot.querySelector("[part=title]").textContent),
  );
  assert.deepEqual(shown, ["Paiement reçu", "تم استلام الدفع", "Pagamento recebido", "Malipo yamepokelewa", "Payment received", "Merci !"]);
  assert.equal(await page.locator("dollr-status").nth(1).locator("[part=box]").getAttribute("dir"), "rtl");
});

test("pictures of every state, language and scheme", async () => {
  const looks = [["light", "en", phone], ["dark", "en", desktop], ["light", "ar", phone], ["dark", "ar", phone]];
  for (const [i, [scheme, lang, viewport]] of looks.entries()) {
    page = await open(browser, { viewport, colorScheme: scheme, reducedMotion: "reduce" });
    relay.body = "<main><h1>Every state</h1></main>";
    await page.goto(relay.url);
    await page.evaluate(
      ([scheme, lang]) => {
        const sheet = new CSSStyleSheet();
        sheet.replaceSync(":root{color-scheme:light dark;background:light-dark(#fff,#111);font:16px/1.5 system-ui,sans-serif}dollr-status{margin:12px 4px}");
        document.adoptedStyleSheets = [sheet];
        document.documentElement.lang = lang;
        document.documentElement.dir = lang == "ar" ? "rtl" : "ltr";
        for (let i = 0; i < 8; i++) {
          const e = document.createElement("dollr-status");
          document.querySelector("main").append(e);
        }
      },
      [scheme, lang],
    );
    const elements = page.locator("dollr-status");
    const states = [status(1), hint(1, "succeeded"), ...["succeeded", "failed", "canceled", "mismatch", "expired"].map((o) => status(2, o))];
    const names = ["waiting", "confirming", "succeeded", "failed", "canceled", "mismatch", "expired"];
    relay.link = "live";
    for (const [i, state] of states.entries()) {
      relay.state = state;
      await elements.nth(i).evaluate((e, i) => e.setAttribute("token", "t" + i), i);
      await elements.nth(i).and(page.locator(`[state=${names[i]}]`)).waitFor();
    }
    relay.state = status(1);
    relay.link = "degraded";
    await elements.nth(7).evaluate((e) => e.setAttribute("token", "one"));
    await elements.nth(7).and(page.locator("[link=degraded]")).waitFor();
    await picture(page, `element-${scheme}-${lang}`, { fullPage: true });
    await accessible(page);
    assert.deepEqual(page.problems, []);
    if (i < looks.length - 1) await page.context().close();
  }
});
