// Starts Chromium for the tests and keeps screenshots where SCREENSHOTS says (default: screenshots/ beside this file).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const folder = process.env.SCREENSHOTS || fileURLToPath(new URL("screenshots/", import.meta.url));

export const desktop = { width: 1280, height: 860 };
export const phone = { width: 390, height: 844 };

export function launch() {
  return chromium.launch({
    executablePath: "/usr/bin/chromium",
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/**
 * Opens an empty page of its own context. Whatever the page reports as an error, a violated content security policy
 * among them, is in page.problems.
 */
export async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: desktop, locale: "en", ...options });
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.on("console", (message) => {
    // Chromium reports every refused connection; the tests refuse some on purpose.
    if (message.type() == "error" && !/WebSocket|Failed to load resource|ERR_/.test(message.text())) {
      page.problems.push(message.text());
    }
  });
  return page;
}

/** Keeps a picture for people to look at. Chromium now and then refuses one of a page that has just changed: then it is asked again. */
export async function picture(page, name, options = {}) {
  await mkdir(folder, { recursive: true });
  for (let attempt = 1; ; attempt++) {
    try {
      return await page.screenshot({ path: `${folder}/${name}.png`, ...options });
    } catch (error) {
      if (attempt == 5 || !/Unable to capture screenshot/.test(error.message)) throw error;
      await page.waitForTimeout(200 * attempt);
    }
  }
}

const axe = readFileSync(fileURLToPath(import.meta.resolve("axe-core/axe.min.js")), "utf8");

/** Has axe-core look at the page, and throws what it finds. Some of its rules may be left out, with a reason. */
export async function accessible(page, { without = [] } = {}) {
  await page.evaluate(axe);
  // What is still fading in has less contrast than it will have.
  await page.evaluate(() =>
    Promise.all(document.getAnimations().map((a) => isFinite(a.effect.getComputedTiming().endTime) && a.finished)),
  );
  const { violations } = await page.evaluate(
    (rules) => window.axe.run({ rules: Object.fromEntries(rules.map((rule) => [rule, { enabled: false }])) }),
    without,
  );
  const found = violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html + " " + n.failureSummary).join("; ")}`);
  assert.deepEqual(found, [], "accessibility");
}
