// The vendor's client against the stand-in. Prints one JSON line for everything it sees; the Go test plays the server's side.
//   node judge.mjs URL ANON_KEY CHANNEL_KEY VSN
import { createClient } from '@supabase/supabase-js';
import WebSocket from 'ws';

const [url, anonKey, channelKey, vsn] = process.argv.slice(2);
const say = (what, detail) => console.log(JSON.stringify({ what, ...detail }));

const sessionID = 55;
const referenceID = '550e8400-e29b-41d4-a716-446655440000';

const supabase = createClient(url, anonKey, {
  auth: { persistSession: false, autoRefreshToken: false },
  realtime: { transport: WebSocket, vsn, timeout: 2000, heartbeatIntervalMs: 1000, heartbeatCallback: (status) => say('heartbeat', { status }) },
});
await supabase.realtime.setAuth(channelKey);

// From here to subscribe() this is how Dollr's guide and Supabase's documentation tell merchants to listen.
const channel = supabase
  .channel(`payment-intent:${sessionID}:${referenceID}`)
  .on('system', {}, (message) => say('system', { status: message.status, message: message.message, extension: message.extension }))
  .on('postgres_changes', {
    event: '*',
    schema: 'public',
    table: 'checkout_payment_intent_public_status',
    filter: `reference_id=eq.${referenceID}`,
  }, (payload) => say('change', { type: payload.eventType, new: payload.new, old: payload.old, errors: payload.errors }))
  .subscribe((status, error) => say('status', { status, error: error?.message }));

// Commands of the test, one a line: "auth KEY", "leave", "quit".
let rest = '';
process.stdin.on('data', async (data) => {
  rest += data;
  const lines = rest.split('\n');
  rest = lines.pop();
  for (const line of lines) {
    const [command, argument] = line.split(' ');
    if (command === 'auth') await supabase.realtime.setAuth(argument);
    if (command === 'leave') say('left', { result: await supabase.removeChannel(channel) });
    if (command === 'quit') process.exit(0);
  }
});
process.stdin.on('end', () => process.exit(0));
