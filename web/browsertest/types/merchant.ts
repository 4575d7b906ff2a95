// A merchant's TypeScript against the published types, checked strictly. What must not compile says so.
import { watch, type Link, type Outcome, type Status, type Watch, type WatchOptions } from "../../dist/relay";

const stop = new AbortController();
const options: WatchOptions = { token: async () => "fresh", url: "https://relay.shop.example", signal: stop.signal };
const payment: Watch = watch(options);

payment.addEventListener("status", ({ detail }) => {
  const seen: Status = detail;
  const word: string | null = detail.status;
  const outcome: Outcome = detail.outcome;
  console.log(seen.version + 1, word, outcome, detail.verified, detail.final);
  // @ts-expect-error there is no such outcome
  if (detail.outcome === "paid") stop.abort();
});
payment.addEventListener("link", ({ detail }) => {
  const link: Link["link"] = detail.link;
  console.log(link === "offline");
});
payment.addEventListener("status", () => {}, { once: true, signal: stop.signal });
const last: Status = await payment.final;
payment.close();

// @ts-expect-error a token is needed
watch({});
// @ts-expect-error final is read only
payment.final = Promise.resolve(last);

// The classic script and the element.
DollrRelay.watch({ token: "one" }).close();
const element = document.createElement("dollr-status");
element.setAttribute("token", "one");
document.querySelector("dollr-status")?.addEventListener("token", () => element.remove());
export {};
