import { Webhook } from "standardwebhooks";

const verifier = new Webhook(process.env.DOLLR_CALLBACK_SECRET);

// dollrCallback takes the callbacks of dollr-relay: (raw body as a string, headers) -> HTTP status.
// In Express: app.post("/hooks/dollr", express.raw({ type: "*/*" }), async (req, res) =>
//   res.sendStatus(await dollrCallback(req.body.toString(), req.headers, shop)));
// and no express.json() before it: the signature is over the raw bytes.
//
// Each call of shop is one transaction that also remembers the webhook-id, and does nothing if that is
// known already: callbacks come at least once.
export async function dollrCallback(body, headers, shop) {
  try {
    verifier.verify(body, headers); // checks the timestamp, too
  } catch {
    return 401;
  }
  const event = JSON.parse(body);
  const id = headers["webhook-id"];
  const order = event.data.metadata.order;
  if (event.test) return 204; // from `callbacks trigger`: nothing was paid
  switch (event.type) {
    case "payment.succeeded":
      await shop.fulfil(id, order); // once per order, whatever payment it was
      break;
    case "payment.failed":
    case "payment.canceled":
    case "payment.expired":
      await shop.notPaid(id, order); // still payable; a success may come later
      break;
    case "payment.mismatch":
    case "payment.contradicted":
      await shop.askPerson(id, order); // the money and the order do not agree
      break;
  }
  return 204; // an exception becomes a 500, and the relay tries again
}
