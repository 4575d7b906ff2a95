package judge_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

const reference = "550e8400-e29b-41d4-a716-446655440000"

// install puts the vendor's client beside the script, at the versions of the lock file.
func install(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("node_modules/.package-lock.json"); err == nil {
		return
	}
	out, err := exec.CommandContext(t.Context(), "npm", "ci").CombinedOutput()
	if err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
}

// client is the vendor's client in its own process.
type client struct {
	t     *testing.T
	srv   *realtimetest.Server
	input io.Writer
	lines chan sight
}

// sight is one thing that the client saw.
type sight struct {
	What, Status, Error, Message, Extension, Type, Result string
	New, Old                                              map[string]any
	Errors                                                []string
}

func (s sight) String() string {
	return strings.Join(strings.Fields(strings.Join([]string{s.What, s.Status, s.Type, s.Extension, s.Message, s.Error, s.Result}, " ")), " ")
}

func start(t *testing.T, vsn string, o realtimetest.Options, faults realtimetest.Faults, life time.Duration) *client {
	t.Helper()
	o.JWTSecret = secret.New("a-jwt-secret-for-tests-of-32-bytes!")
	o.JoinErrorDelay, o.TokenDelay = 100*time.Millisecond, 100*time.Millisecond
	srv := realtimetest.New(o)
	srv.SetFaults(faults)
	web := httptest.NewServer(srv)
	t.Cleanup(func() {
		srv.Close()
		web.Close()
	})
	anon := srv.Token(time.Hour, map[string]any{"role": "anon"})
	cmd := exec.CommandContext(t.Context(), "node", "judge.mjs", web.URL, anon, srv.Token(life), vsn)
	cmd.Stderr = t.Output()
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, srv: srv, input: input, lines: make(chan sight, 1000)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			var s sight
			if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
				t.Errorf("the client printed %q: %v", lines.Text(), err)
			}
			c.lines <- s
		}
	}()
	t.Cleanup(func() {
		_ = input.Close()
		<-read
		_ = cmd.Wait()
	})
	return c
}

// see waits for the next thing that the client sees and that is no heartbeat.
func (c *client) see(want string) sight {
	c.t.Helper()
	deadline := time.After(15 * time.Second)
	for {
		select {
		case s := <-c.lines:
			if s.What == "heartbeat" {
				continue
			}
			if got := s.String(); !strings.HasPrefix(got, want) {
				c.t.Fatalf("the vendor's client saw %q, want %q", got, want)
			}
			return s
		case <-deadline:
			c.t.Fatalf("the vendor's client saw nothing, want %q", want)
		}
	}
}

// seeHeartbeat waits for an answered heartbeat.
func (c *client) seeHeartbeat() {
	c.t.Helper()
	deadline := time.After(15 * time.Second)
	for {
		select {
		case s := <-c.lines:
			if s.What == "heartbeat" && s.Status == "ok" {
				return
			}
			if s.What == "change" {
				c.t.Fatalf("the vendor's client saw %+v, want no change", s)
			}
		case <-deadline:
			c.t.Fatal("the vendor's client saw no heartbeat answered")
		}
	}
}

func (c *client) say(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.input, format+"\n", args...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) subscribed() {
	c.t.Helper()
	c.see("status SUBSCRIBED")
	c.see("system ok postgres_changes Subscribed to PostgreSQL")
}

func row(status string) realtimetest.Row {
	return realtimetest.Row{"reference_id": reference, "status": status, "session_id": json.Number("55")}
}

func TestJudge_officialClient(t *testing.T) {
	t.Parallel()
	install(t)
	for _, vsn := range []string{"1.0.0", "2.0.0"} {
		t.Run("changes over "+vsn, func(t *testing.T) {
			t.Parallel()
			c := start(t, vsn, realtimetest.Options{}, realtimetest.Faults{}, time.Hour)
			c.subscribed()
			c.srv.Change(row("PROCESSING"))
			if s := c.see("change INSERT"); s.New["status"] != "PROCESSING" || s.New["session_id"] != 55.0 || len(s.Old) != 0 {
				t.Errorf("INSERT arrived as %+v", s)
			}
			c.srv.Change(row("COMPLETED"))
			if s := c.see("change UPDATE"); s.New["status"] != "COMPLETED" || s.Old["id"] != 1.0 {
				t.Errorf("UPDATE arrived as %+v", s)
			}
			c.seeHeartbeat()
			c.say("auth %s", c.srv.Token(2*time.Hour))
			c.see("system ok postgres_changes Subscribed to PostgreSQL")
			c.say("leave")
			c.see("status CLOSED")
			c.see("left ok")
		})
		t.Run("odd changes over "+vsn, func(t *testing.T) {
			t.Parallel()
			table := realtimetest.StatusTable()
			table.Key = []string{"id", "reference_id"} // so that a DELETE passes the filter
			c := start(t, vsn, realtimetest.Options{Tables: []realtimetest.Table{table}}, realtimetest.Faults{}, time.Hour)
			c.subscribed()
			c.srv.Publish(realtimetest.Change{Type: realtimetest.Insert, Record: realtimetest.Row{"id": "9007199254740993", "reference_id": reference, "status": "text"}})
			if s := c.see("change INSERT"); s.New["id"] != 9007199254740992.0 || s.New["status"] != "text" { // as its casting does
				t.Errorf("text cells arrived as %+v", s)
			}
			c.srv.Publish(realtimetest.Change{
				Type: realtimetest.Update, OldRecord: realtimetest.Row{"id": 7}, Error: realtimetest.ErrorTooLarge,
				Record: realtimetest.Row{"id": 7, "reference_id": reference, "status": strings.Repeat("x", 100)},
			})
			if s := c.see("change UPDATE"); len(s.Errors) != 1 || s.Errors[0] != realtimetest.ErrorTooLarge || s.New["id"] != 7.0 || s.New["status"] != nil {
				t.Errorf("the 413 arrived as %+v", s)
			}
			c.srv.SetFaults(realtimetest.Faults{ForeignIDs: true})
			c.srv.Change(row("FOREIGN"))
			for range 3 { // a second apart: it has been sent
				c.seeHeartbeat()
			}
			c.srv.SetFaults(realtimetest.Faults{BinaryFrames: true, UnknownEvents: true})
			c.srv.Publish(realtimetest.Change{Type: realtimetest.Delete, OldRecord: realtimetest.Row{"id": 7, "reference_id": reference, "status": "gone"}})
			if s := c.see("change DELETE"); len(s.New) != 0 || s.Old["id"] != 7.0 || s.Old["status"] != nil { // and nothing of the foreign one
				t.Errorf("DELETE arrived as %+v", s)
			}
			c.srv.SetFaults(realtimetest.Faults{})
			c.srv.Orphan("")
			c.srv.Forget("")
			c.say("auth %s", c.srv.Token(2*time.Hour)) // "unmatched topic", which the vendor's client does not mind
			c.seeHeartbeat()
		})
		t.Run("errors over "+vsn, func(t *testing.T) {
			t.Parallel()
			c := start(t, vsn, realtimetest.Options{}, realtimetest.Faults{JoinError: "RealtimeRestarting: Realtime is restarting, please standby"}, time.Hour)
			c.see(`status CHANNEL_ERROR RealtimeRestarting: Realtime is restarting`)
			c.srv.SetFaults(realtimetest.Faults{})
			c.subscribed()
			c.srv.StaleClose("") // ignored
			c.srv.Crash("")
			c.see("status CHANNEL_ERROR")
			c.subscribed()
			c.srv.CloseAll(1012)
			c.see("status CHANNEL_ERROR socket closed: 1012")
			c.subscribed()
			c.srv.Publish(realtimetest.Change{Type: realtimetest.Update, Record: row("PAID"), Error: realtimetest.ErrorUnauthorized})
			if s := c.see("change UPDATE"); len(s.Errors) != 1 || len(s.New) != 0 {
				t.Errorf("the 401 arrived as %+v", s)
			}
			c.srv.Expel("", "Token has expired 0 seconds ago")
			c.see("system error system Token has expired 0 seconds ago")
			c.see("status CLOSED")
		})
		t.Run("expiry over "+vsn, func(t *testing.T) {
			t.Parallel()
			c := start(t, vsn, realtimetest.Options{}, realtimetest.Faults{}, 4*time.Second)
			c.subscribed()
			c.see("system error system Token has expired")
			c.see("status CLOSED")
		})
		t.Run("silence over "+vsn, func(t *testing.T) {
			t.Parallel()
			c := start(t, vsn, realtimetest.Options{}, realtimetest.Faults{MuteJoins: true}, time.Hour)
			c.see("status TIMED_OUT")
			c.srv.SetFaults(realtimetest.Faults{})
			c.subscribed()
		})
		t.Run("wrong echo over "+vsn, func(t *testing.T) {
			t.Parallel()
			c := start(t, vsn, realtimetest.Options{}, realtimetest.Faults{WrongEcho: true}, time.Hour)
			c.see("status CLOSED")
			c.see("status CHANNEL_ERROR mismatch between server and client bindings for postgres changes")
		})
		t.Run("table not published over "+vsn, func(t *testing.T) {
			t.Parallel()
			c := start(t, vsn, realtimetest.Options{Tables: []realtimetest.Table{{Schema: "public", Name: "other"}}}, realtimetest.Faults{}, time.Hour)
			c.see("status SUBSCRIBED") // it says so on the reply alone
			c.see("system error postgres_changes Unable to subscribe to changes with given parameters. Please check Realtime is enabled")
		})
	}
}
