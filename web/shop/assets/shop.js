// The order page of the demo shop. What the customer sees is <dollr-status>, from the relay; the rest
// of the page looks behind the scenes: what the shop's own backend has received.
"use strict";

const order = document.body.dataset.order;
const base = `/demo/orders/${order}`;
const $ = (id) => document.getElementById(id);
const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

async function send(method, path, body) {
  const answer = await fetch(path, {
    method, headers: { "content-type": "application/json" }, body: body && JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

// The customer's phone.
const buttons = [...document.querySelectorAll("[data-action]")];
for (const button of buttons) {
  button.addEventListener("click", async () => {
    for (const b of buttons) b.disabled = true;
    try {
      await send("POST", `${base}/customer`, { action: button.dataset.action });
      $("sheet").hidden = true;
    } catch (err) {
      console.error(err);
      for (const b of buttons) b.disabled = false;
    }
  });
}
const element = document.querySelector("dollr-status");
element.addEventListener("token", async () => {
  // The page was open, or came back, after its token had expired: the shop's backend has a fresh one.
  const { page } = await send("GET", `${base}/token`);
  element.setAttribute("token", page.token);
});
element.addEventListener("status", (e) => {
  if (e.detail.final || e.detail.status === "PROCESSING") $("sheet").hidden = true;
  readTimeline();
});

// The weather.
const switches = [$("realtime_down"), $("dollr_down")];
const weather = () => Object.fromEntries(switches.map((s) => [s.id, s.checked]));
send("GET", "/demo/weather").then((now) => { for (const s of switches) s.checked = now[s.id]; });
for (const s of switches) s.addEventListener("change", () => send("PUT", "/demo/weather", weather()));

// What the shop's backend knows.
function showOrder(now) {
  $("state").dataset.state = now.state;
  $("state-word").textContent = now.state;
  if (now.reason) $("reason").textContent = now.reason;
  const list = $("callbacks");
  for (const got of (now.received || []).slice(list.children.length)) {
    const item = $("callback").content.cloneNode(true);
    item.querySelector(".type").textContent = got.type + (got.repeated ? " (again)" : "");
    item.querySelector("time").textContent = clock(got.at);
    item.querySelector("pre").textContent =
      `webhook-id: ${got.id}\nwebhook-timestamp: ${got.timestamp}\nwebhook-signature: ${got.signature}\n\n${JSON.stringify(got.body, null, 2)}`;
    list.append(item);
  }
  readTimeline();
}
new EventSource(`${base}/events`).onmessage = (e) => showOrder(JSON.parse(e.data));

// What the relay has learned, read again when something may have changed and now and then.
let reading = false;
async function readTimeline() {
  if (reading) return;
  reading = true;
  try {
    const { data } = await send("GET", `${base}/timeline`);
    const list = $("timeline");
    for (const event of data.slice(list.children.length)) {
      const item = $("entry").content.cloneNode(true);
      item.querySelector(".via").textContent = event.via;
      item.querySelector(".via").dataset.via = event.via;
      item.querySelector(".detail").textContent = event.detail;
      item.querySelector("time").textContent = clock(event.at);
      list.append(item);
    }
  } catch (err) {
    console.error(err);
  } finally {
    reading = false;
  }
}
setInterval(readTimeline, 1500);
