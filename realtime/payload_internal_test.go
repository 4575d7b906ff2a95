package realtime

import (
	"bufio"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestC15C16C17_changePayloads(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, payload string
		want          change
	}{
		{"insert", `{"ids":[7],"data":{"type":"INSERT","errors":null,"record":{"status":"PAID","reference_id":"r"}}}`, change{[]int64{7}, "INSERT", "r", "PAID"}},
		{"delete without record", `{"ids":[7],"data":{"type":"DELETE","errors":null,"old_record":{"id":1}}}`, change{[]int64{7}, "DELETE", "", ""}},
		{"status column missing", `{"ids":[7],"data":{"type":"UPDATE","record":{"id":9007199254740993},"columns":[],"commit_timestamp":null}}`, change{[]int64{7}, "UPDATE", "", ""}},
		{"status null", `{"ids":[7],"data":{"type":"UPDATE","record":{"status":null}}}`, change{[]int64{7}, "UPDATE", "", ""}},
		{"status is a number", `{"ids":[7],"data":{"type":"UPDATE","record":{"status":5}}}`, change{[]int64{7}, "UPDATE", "", ""}},
		{"errors set", `{"ids":[7],"data":{"type":"UPDATE","errors":["Error 413: Payload Too Large"],"record":{"status":"PAID"}}}`, change{[]int64{7}, "UPDATE", "", ""}},
		{"ids of text and fractions do not count", `{"ids":["7",7.5,1e3,134217727],"data":{"type":"UPDATE","errors":[],"record":{"status":"x"}}}`, change{[]int64{134217727}, "UPDATE", "", "x"}},
		{"id beyond 2^53", `{"ids":[9007199254740993],"data":{"type":"UPDATE"}}`, change{[]int64{9007199254740993}, "UPDATE", "", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := decodeChange(json.RawMessage(tt.payload))
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("decodeChange() = %+v, %v, want %+v", got, err, tt.want)
			}
			frame, short, ok := decodeChangeFrame([]byte(`["6",null,"realtime:x","postgres_changes",` + tt.payload + `]`))
			if want := (Frame{JoinRef: "6", Topic: "realtime:x", Event: eventChanges}); !ok || !reflect.DeepEqual(frame, want) || !reflect.DeepEqual(short, tt.want) {
				t.Errorf("decodeChangeFrame() = %+v, %+v, %t, want %+v, %+v", frame, short, ok, want, tt.want)
			}
		})
	}
	for _, bad := range []string{``, `null`, `[]`, `{}`, `{"ids":[1]}`, `{"ids":1,"data":{}}`, `{"ids":[1],"data":5}`, `{"ids":[1],"data":{"record":[]}}`} {
		if got, err := decodeChange(json.RawMessage(bad)); err == nil {
			t.Errorf("decodeChange(%s) = %+v, want an error", bad, got)
		}
		if _, got, ok := decodeChangeFrame([]byte(`[null,null,"realtime:x","postgres_changes",` + bad + `]`)); ok {
			t.Errorf("decodeChangeFrame(… %s) = %+v, want none", bad, got)
		}
	}
	for _, bad := range []string{
		`[6,null,"realtime:x","postgres_changes",{"ids":[7],"data":{"type":"UPDATE"}}]`,
		`[null,null,null,"postgres_changes",{"ids":[7],"data":{"type":"UPDATE"}}]`,
		`[null,null,"realtime:x","postgres_changes",{"ids":[7],"data":{"type":"UPDATE"}}`,
		`[null,null,"postgres_changes","system",{"ids":[7],"data":{"type":"UPDATE"}}]`,
		`["postgres_changes"`,
		`["postgres_changes",` + strings.Repeat("[", shortFrame/2), // as deep as the short way goes
		`["postgres_changes",` + strings.Repeat("[", frameLimit),
	} {
		if _, got, ok := decodeChangeFrame([]byte(bad)); ok {
			t.Errorf("decodeChangeFrame(%.100s) = %+v, want none", bad, got)
		}
	}
}

func TestC12_classesOfReasons(t *testing.T) {
	t.Parallel()
	tests := map[string]class{
		"InvalidJWTToken: Token has expired 12 seconds ago":            credential,
		"Token has expired 0 seconds ago":                              credential,
		"JwtSignatureError: Failed to validate JWT signature":          credential,
		"PrivateOnly: This project only allows private channels":       refused,
		"RealtimeDisabledForTenant: Realtime disabled for this tenant": refused,
		"ChannelRateLimitReached: Too many channels":                   perSocket,
		"ClientJoinRateLimitReached: Too many joins per second":        limited,
		"RealtimeRestarting: Realtime is restarting, please standby":   transient,
		"UnableToConnectToProject: Realtime was unable to connect":     transient,
		"something nobody has heard of":                                transient,
		"":                                                             transient,
	}
	for reason, want := range tests {
		if got := classify(reason); got != want {
			t.Errorf("classify(%q) = %v, want %v", reason, got, want)
		}
	}
	if got := classifySystem(`{:error, "Too many database timeouts"}`); got != transient {
		t.Errorf("a database time-out is class %v, want transient", got)
	}
	if got := classifySystem("Unable to subscribe to changes with given parameters. Please check"); got != refused {
		t.Errorf("a table that is not published is class %v, want refused", got)
	}
}

func FuzzDecodePayloads(f *testing.F) {
	file, err := os.Open("realtimetest/testdata/supabase-js-capture.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var c struct{ Frame json.RawMessage }
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			f.Fatal(err)
		}
		if frame, err := DecodeFrame(c.Frame); err == nil {
			f.Add([]byte(frame.Payload))
		}
	}
	binding := Target{SessionID: 55, ReferenceID: "550e8400-e29b-41d4-a716-446655440000"}.binding()
	f.Fuzz(func(t *testing.T, payload []byte) {
		if c, err := decodeChange(payload); err == nil && !json.Valid(payload) {
			t.Errorf("decodeChange(%q) = %+v from what is not JSON", payload, c)
		}
		if s, err := decodeSystem(payload); err == nil && s.Status == "" {
			t.Errorf("decodeSystem(%q) has no status", payload)
		}
		r, err := decodeReply(payload)
		if _, ok := r.bindingID(binding); ok && (err != nil || len(r.echoes) == 0) {
			t.Errorf("decodeReply(%q) has a binding's id out of nowhere", payload)
		}
	})
}
