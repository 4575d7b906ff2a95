/**
 * One attempt to hear of a payment: what a transport needs, and where it puts what it hears. Names that begin with _ are
 * shortened by the build.
 */
export interface Attempt {
  /** The page protocol's address, `https://relay.example/v1/page/`. */
  url: string;
  /** The newest one: it may change during the attempt. */
  token: string;
  /** Takes a message's text; any other text is a sign of life. */
  _hear(text: string): void;
  /** Least milliseconds to wait before the next attempt, as the server wishes. */
  wait: number;
  signal: AbortSignal;
}

/** A transport carries messages until it ends, and resolves with the close code or HTTP status that tells why. */
export type Transport = (attempt: Attempt) => Promise<number>;

const socket: Transport = ({ url, token, _hear: hear, signal }) =>
  new Promise((end) => {
    const ws = new WebSocket(url.replace(/^http/, "ws") + "stream", ["dollr-relay.v1", "bearer." + token]);
    ws.onmessage = (e) => hear(e.data);
    ws.onclose = (e) => end(e.code);
    signal.addEventListener("abort", () => ws.close());
  });

/**
 * Server-sent events and long polling, both read by fetch (EventSource can send no token in a header) and line by line.
 * The first poll does not wait, so that a dead network shows at once, and brings the present state; the next ones bring
 * what is newer than the position that the answer before names. Of a stream the headers are no sign of life yet: a proxy
 * may pass them and hold back the rest.
 */
const http =
  (polling: boolean): Transport =>
  async (attempt) => {
    for (let wait = 0, since = ""; ; wait = 25) {
      const { headers, body, ok, status } = await fetch(
        attempt.url + (polling ? `status?since=${since}&wait=${wait}s` : "events"),
        { headers: { authorization: "Bearer " + attempt.token }, signal: attempt.signal },
      );
      attempt.wait = +headers.get("retry-after")! * 1e3;
      if (!ok) return status;
      since = headers.get("relay-position") || "";
      const reader = body?.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = "", chunk; reader && !chunk?.done; ) {
        chunk = await reader.read();
        const lines = (rest + (chunk.value || "\n")).split("\n");
        rest = lines.pop()!;
        for (const line of lines) {
          attempt._hear(line.replace(/^data:/, ""));
          if (/^retry:/.test(line)) attempt.wait = +line.slice(6);
        }
      }
      for (const type of ["link", "token"]) {
        const value = headers.get("relay-" + type);
        if (value) attempt._hear(JSON.stringify({ type, [type]: value }));
      }
      if (!polling) return 0;
      // A server that always has news must not be asked in a tight loop.
      await new Promise((next) => setTimeout(next, 1e3));
    }
  };

/** Best first. */
export const transports = [socket, http(false), http(true)];
