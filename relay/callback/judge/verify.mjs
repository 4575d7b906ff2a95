// Verifies callbacks with the official Standard Webhooks library. Standard input: a JSON array of
// {secret, headers, body}. Standard output: a JSON array with "ok" or the library's complaint for each.
import { Webhook } from "standardwebhooks";

let input = "";
for await (const chunk of process.stdin) input += chunk;
const verdicts = JSON.parse(input).map(({ secret, headers, body }) => {
  try {
    new Webhook(secret).verify(body, headers);
    return "ok";
  } catch (err) {
    return err.message;
  }
});
console.log(JSON.stringify(verdicts));
