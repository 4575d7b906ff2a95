package realtime_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

// capture reads frames that the official client exchanged with a server.
func capture(tb testing.TB) []captured {
	tb.Helper()
	data, err := os.ReadFile("realtimetest/testdata/supabase-js-capture.jsonl")
	if err != nil {
		tb.Fatal(err)
	}
	var all []captured
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		var c captured
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			tb.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

type captured struct {
	Dir, Vsn, Note string
	Frame          json.RawMessage
}

func TestC1_dialsLikeTheOfficialClient(t *testing.T) {
	t.Parallel()
	var seen []string
	bubbleWith(t, realtimetest.Options{}, func(o *realtime.Options) {
		o.HTTPClient.Transport = spy{o.HTTPClient.Transport, func(r *http.Request) { seen = append(seen, r.URL.Path+"?"+r.URL.RawQuery) }}
	}, func(r *rig) {
		r.live()
		if len(seen) != 1 || !strings.HasPrefix(seen[0], "/realtime/v1/websocket?apikey=eyJ") || !strings.HasSuffix(seen[0], "&vsn=2.0.0") {
			t.Errorf("dialled %q, want one /realtime/v1/websocket?apikey=…&vsn=2.0.0", seen)
		}
	})
}

func TestC2_whatNotToTryAgainFast(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{401: true, 403: true, 404: true, 400: false, 429: false, 500: false, 502: false, 503: false} {
		if got := (&realtime.UpgradeError{Status: status}).Misconfigured(); got != want {
			t.Errorf("Misconfigured() = %t for status %d, want %t", got, status, want)
		}
	}
}

func TestC1_keyIsEscaped(t *testing.T) {
	t.Parallel()
	const key = "a+b/c=d&vsn=1.0.0 #%"
	var seen []url.Values
	bubbleWith(t, realtimetest.Options{}, func(o *realtime.Options) {
		o.AnonKey = secret.New(key)
		o.HTTPClient.Transport = spy{o.HTTPClient.Transport, func(r *http.Request) { seen = append(seen, r.URL.Query()) }}
	}, func(r *rig) {
		r.feed.Follow(target())
		pass(time.Second)
		if len(seen) != 1 || seen[0].Get("apikey") != key || len(seen[0]["vsn"]) != 1 || seen[0].Get("vsn") != "2.0.0" {
			t.Errorf("dialled with %v, want the key as it is and vsn 2.0.0", seen)
		}
	})
}

type spy struct {
	next http.RoundTripper
	see  func(*http.Request)
}

func (s spy) RoundTrip(r *http.Request) (*http.Response, error) {
	s.see(r)
	return s.next.RoundTrip(r)
}

func TestC1C2_refusedUpgradeIsAwaitedReportedAndNotHammered(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	bubbleWith(t, realtimetest.Options{ConnectErrorDelay: 6 * time.Second}, func(o *realtime.Options) { o.Logger = jsonLog(&log) }, func(r *rig) {
		r.srv.SetFaults(realtimetest.Faults{ConnectStatus: 401, ConnectError: "Token has expired"})
		r.feed.Follow(target())
		pass(10 * time.Minute)
		r.want("lost:unconfirmed")
		if got := r.get(r.closes, "http_401"); got < 4 || got > 10 {
			t.Errorf("%d upgrades in ten minutes were refused, want 4 to 10", got)
		}
		r.srv.SetFaults(realtimetest.Faults{})
		pass(3 * time.Minute)
		r.want("live")
	})
	if got := log.String(); !strings.Contains(got, "status 401: Token has expired") || strings.Contains(got, "apikey") || strings.Contains(got, "eyJ") {
		t.Errorf("the log does not tell status and text, or tells too much:\n%s", got)
	}
}

func TestC3C4_refsOfFrames(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		pass(10 * time.Minute) // heartbeats and renewals
		r.srv.Crash("")
		pass(5 * time.Second)
		r.feed.Unfollow("pay_1")
		pass(time.Second)
		refs := map[string]bool{}
		joinRef := ""
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, f := range r.frames {
			var parts []any
			if err := json.Unmarshal(f.Data, &parts); err != nil || len(parts) != 5 {
				t.Fatalf("frame %s has not five elements", f.Data)
			}
			if !f.FromClient {
				continue
			}
			ref, ok := parts[1].(string)
			if !ok || refs[ref] {
				t.Errorf("ref of %s is no string or was used before", f.Data)
			}
			refs[ref] = true
			switch parts[3] {
			case "phx_join":
				joinRef = ref
				fallthrough
			case "access_token", "phx_leave":
				if parts[0] != joinRef {
					t.Errorf("join_ref of %s is not %q", parts[3], joinRef)
				}
			case "heartbeat":
				if parts[0] != nil {
					t.Errorf("heartbeat has join_ref %v, want null", parts[0])
				}
			}
		}
		if len(refs) < 20 {
			t.Errorf("saw %d client frames, want a good deal more", len(refs))
		}
	})
}

func TestC5_joinIsTheCapturedOne(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		var want, got []any
		for _, c := range capture(t) {
			if c.Vsn == "2.0.0" && c.Note == "happy: phx_join" {
				if err := json.Unmarshal(c.Frame, &want); err != nil {
					t.Fatal(err)
				}
			}
		}
		joins := r.sent("phx_join")
		if len(joins) != 1 {
			t.Fatalf("sent %d joins, want 1", len(joins))
		}
		data, err := joins[0].Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		for _, frame := range [][]any{got, want} { // what differs from join to join
			frame[0], frame[1] = "ref", "ref"
			payload, _ := frame[4].(map[string]any)
			payload["access_token"] = "token"
		}
		gotJSON, _ := json.Marshal(got)
		wantJSON, _ := json.Marshal(want)
		if string(gotJSON) != string(wantJSON) {
			t.Errorf("join\n%s\nwant\n%s", gotJSON, wantJSON)
		}
	})
}

func TestDecodeFrame_refusesWhatIsNotAFrame(t *testing.T) {
	t.Parallel()
	for _, text := range []string{``, `{`, `{}`, `[]`, `[1,2,3,4,5]`, `[null,null,null,"x",{}]`, `[null,null,"t",null,{}]`, `[null,null,"t","e"]`, `"x"`, `[[],null,"t","e",{}]`} {
		if f, err := realtime.DecodeFrame([]byte(text)); err == nil {
			t.Errorf("DecodeFrame(%s) = %+v, want an error", text, f)
		}
	}
	f, err := realtime.DecodeFrame([]byte(`["1","2","t","e",{"a":1},"more"]`))
	if err != nil || f.JoinRef != "1" || f.Ref != "2" || f.Topic != "t" || f.Event != "e" || string(f.Payload) != `{"a":1}` {
		t.Errorf("DecodeFrame() = %+v, %v", f, err)
	}
}

func FuzzDecodeFrame(f *testing.F) {
	for _, c := range capture(f) {
		f.Add([]byte(c.Frame))
	}
	f.Add([]byte(`[null,null,"t","postgres_changes",{"ids":["1",1e99,9007199254740993],"data":{"record":{"id":9007199254740993}}}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		frame, err := realtime.DecodeFrame(data)
		if err != nil {
			return
		}
		encoded, err := frame.Encode()
		if err != nil {
			t.Fatalf("a decoded frame cannot be encoded: %v", err)
		}
		again, err := realtime.DecodeFrame(encoded)
		if err != nil || again.JoinRef != frame.JoinRef || again.Ref != frame.Ref || again.Topic != frame.Topic || again.Event != frame.Event {
			t.Errorf("%s decodes to %+v, and after encoding to %+v, %v", data, frame, again, err)
		}
	})
}
