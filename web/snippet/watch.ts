import type { Link, Status, Watch, WatchOptions } from "./relay";
import { type Attempt, transports } from "./transports";

/**
 * Watches one payment. One loop makes one attempt after the other; what an attempt hears and when it is given up are
 * decided here, a transport only carries.
 */
export function watch(home: string | undefined, { token, url, signal }: WatchOptions, at = new EventTarget()): Watch {
  const target = at as Watch & { final: Promise<Status> };
  const page = (url || home!).replace(/^ws/, "http").replace(/\/+(v1\/.*)?$/, "") + "/v1/page/";
  const closing = new AbortController();
  const over = closing.signal;

  let channel: BroadcastChannel | undefined; // to whoever else in this browser watches the payment
  let follow = false; // another one has the connection
  let version = 0;
  let link: string;
  let bearer: string | undefined;
  let rung = 0; // of the ladder of transports
  let failures = 0;
  let away = false;
  let urgent!: boolean, heard!: boolean, began!: number; // 0 while following
  let last!: Attempt & { abort(): void };
  let resume = () => {};
  let deadline: number | undefined, lost: number | undefined, rousing: number | undefined;
  let resolve!: (status: Status) => void, reject!: (reason: unknown) => void;

  target.final = new Promise((yes, no) => ((resolve = yes), (reject = no)));
  target.final.catch(() => {}); // awaiting it is optional

  const emit = (detail: Status | Link) =>
    over.aborted || target.dispatchEvent(new CustomEvent(detail.type, { detail }));
  const show = (next: Link) => {
    if (link != next.link) emit(next);
    link = next.link;
  };
  const offline = () => show({ type: "link", link: "offline" });
  const patience = (ms: number) => {
    clearTimeout(deadline);
    deadline = setTimeout(() => last.abort(), ms);
  };
  /** Says what came over our connection, if it is ours, and when that began; without a text, that it is gone. */
  const tell = (text?: string) => began && channel?.postMessage([began, text]);
  const leave = () => {
    tell();
    channel?.close();
    channel = undefined;
    last?.abort();
  };
  const close = (reason?: unknown) => {
    closing.abort(reason);
    reject(over.reason);
    clearInterval(clock);
    leave();
    resume();
  };

  /** One connection for each browser: whoever began the newest tells the others, which drop theirs and follow. */
  const told = ({ data: [since, text] }: MessageEvent<[number, string?]>) => {
    if (text == null) {
      if (!began) patience(Math.random() * 2e3); // the first to run out of it begins
    } else if (since > began) {
      if (began) {
        began = 0;
        follow = urgent = true;
        last.abort();
      }
      hear(text);
    }
  };

  const hear = (text: string) => {
    heard = true;
    clearTimeout(lost);
    lost = 0;
    patience(35e3); // pings come every 25 s; phones kill sockets without an event
    let message;
    try {
      message = JSON.parse(text);
      if (message.id) (channel ??= new BroadcastChannel(message.id)).onmessage = told;
    } catch {} // nothing in it, but a sign of life; or a browser without channels
    tell(text);
    const type = message?.type;
    if (type == "token") last.token = bearer = message.token;
    if (type == "link") show(message);
    // Versions never fall, whatever order connections deliver in.
    if (type == "status" && message.version >= version) {
      version = message.version;
      emit(message);
      if (message.final) {
        resolve(message);
        close();
      }
    }
  };

  /** Makes one attempt and resolves with why it ended; 0 is given up, or no network. */
  const attempt = () =>
    new Promise<number>((end) => {
      const giveUp = new AbortController();
      const { signal } = giveUp;
      signal.onabort = () => end(0);
      last = {
        url: page,
        token: "",
        _hear: (text) => signal.aborted || hear(text),
        wait: 0,
        signal,
        abort: () => giveUp.abort(),
      };
      heard = follow;
      follow = urgent = false;
      patience(heard ? 35e3 : 8e3);
      if (heard) return;
      began = Date.now() + Math.random();
      (async () => {
        last.token = bearer ??= typeof token == "function" ? await token() : token;
        return transports[rung]!(last);
      })().then(end, last.abort);
    });

  /** The tab or the network is back: what is connected may be dead without knowing, so start over now. */
  const rouse = () => {
    clearTimeout(rousing);
    rousing = setTimeout(() => {
      urgent = true;
      failures = 0;
      if (!heard) rung = 0;
      last.abort();
      resume();
    }, 50); // one return makes several events
  };
  for (const type of ["online", "offline", "visibilitychange", "pageshow", "pagehide"])
    addEventListener(
      type,
      (e) => {
        away = type == "pagehide"; // an open socket would keep the page out of the back-forward cache
        if (away) leave();
        else if (!document.hidden && (e as PageTransitionEvent).persisted !== false) rouse();
      },
      { signal: over },
    );
  let tick = Date.now();
  const clock = setInterval(() => {
    const now = Date.now();
    if (!document.hidden && now - tick > 5e3) rouse(); // the machine slept
    if (rung && now - began > 3e5) {
      lost ||= setTimeout(offline, 3e4); // what works is given up for a look: that is no loss yet
      last.abort(); // a better transport may work by now
    }
    tick = now;
  }, 1e3);
  target.close = () => close();
  signal?.addEventListener("abort", () => close(signal.reason));
  if (signal?.aborted) close(signal.reason);

  (async () => {
    while (!over.aborted) {
      const code = (await attempt()) % 4000; // WebSocket's 4401 and 4429 are HTTP's 401 and 429
      last.abort();
      clearTimeout(deadline);
      if (!follow) lost ||= setTimeout(offline, 2e3);
      if (heard && Date.now() - began > 1e4) failures = rung = 0;
      if (code == 401) {
        bearer = undefined;
        urgent = !failures++; // a fresh one is used at once, but only once
        if (typeof token != "function") {
          offline();
          close(Error("token refused"));
        }
      } else if (code == 429) failures = 6;
      else if (!urgent && (failures++ || !heard)) rung = (rung + 1) % 3;
      if (!urgent && !over.aborted)
        await new Promise<void>((next) => {
          resume = next;
          if (!away) setTimeout(next, Math.max(last.wait, Math.random() * Math.min(3e4, 500 * 2 ** failures)));
        });
    }
  })();
  return target;
}
