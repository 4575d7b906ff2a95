// Package judge lets the vendor's own client, @supabase/supabase-js, judge the stand-in server: judge.mjs listens as merchants are
// told to, and the test beside it checks what it sees. It needs node and npm.
package judge
