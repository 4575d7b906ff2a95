// Serves the documentation's handler for Node to the tests of docs/callbacks: it prints its port, then
// a line for each thing that the shop does.
import { createServer } from "node:http";
import { dollrCallback } from "./handler.mjs";

const known = new Set();
function once(id, what, order) {
  const line = `${what} ${order}`;
  if (!known.has(id) && (what !== "fulfilled" || !known.has(line))) console.log(line);
  known.add(id).add(line);
}
const shop = {
  fulfil: (id, order) => once(id, "fulfilled", order),
  notPaid: (id, order) => once(id, "unpaid", order),
  askPerson: (id, order) => once(id, "asked", order),
};
const server = createServer(async (req, res) => {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  try {
    res.writeHead(await dollrCallback(Buffer.concat(chunks).toString(), req.headers, shop)).end();
  } catch {
    res.writeHead(500).end();
  }
});
server.listen(0, "127.0.0.1", () => console.log(`listening ${server.address().port}`));
