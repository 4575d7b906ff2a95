// Package realtimetest is a stand-in for Supabase Realtime: the part of its WebSocket protocol that
// `postgres_changes` needs, faithful down to the delays and the silences, with switches for every
// fault that the real service is known for.
//
// A [Server] is an [net/http.Handler] for a real listener (the sandbox, the official JavaScript client), and
// [NewServer] serves it over in-memory connections, which also work inside a testing/synctest bubble. Start reading
// at [Server.ServeHTTP]: it checks the upgrade, then one loop per connection handles frames in order,
// as the real transport does: while a failing join is held back, nothing else of that socket moves.
package realtimetest
