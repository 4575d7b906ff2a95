package forward_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/apiclient"
	"github.com/dollr-relay/dollr-relay/internal/forward"
	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// desk is a developer's machine: a backend that verifies, and a folder that outlives a listener.
type desk struct {
	t        *testing.T
	folder   string
	backend  string
	secret   callback.Secret
	answers  []int    // codes of the first answers, then 204
	received []string // "id body"
	said     []string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, folder: filepath.Join(t.TempDir(), "config")}
	text, _, err := forward.Secret(d.folder)
	if err != nil {
		t.Fatal(err)
	}
	if d.secret, err = callback.ParseSecret(text); err != nil {
		t.Fatal(err)
	}
	verifier, err := callback.NewVerifier([]callback.Secret{d.secret}, nil)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		message, err := verifier.Read(r)
		if err != nil {
			t.Errorf("forwarded event: %v", err)
		}
		d.received = append(d.received, message.ID+" "+string(message.Body))
		code := http.StatusNoContent
		if len(d.answers) > 0 {
			code, d.answers = d.answers[0], d.answers[1:]
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(srv.Close)
	d.backend = srv.URL
	return d
}

// listen runs a Listener on a feed until the feed has nothing more to say.
func (d *desk) listen(feed *feed, edit ...func(*forward.Listener)) error {
	d.t.Helper()
	target, err := forward.NewTarget(d.backend, d.secret)
	if err != nil {
		d.t.Fatal(err)
	}
	journal, err := forward.OpenJournal(d.folder, "http://relay", d.backend)
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(d.t.Context())
	defer cancel()
	feed.empty = cancel
	l := &forward.Listener{
		Events: feed.ask, Target: target, Journal: journal,
		Say: func(format string, args ...any) { d.said = append(d.said, fmt.Sprintf(format, args...)) },
	}
	for _, change := range edit {
		change(l)
	}
	return errors.Join(l.Run(ctx), journal.Close())
}

func (d *desk) ids() []string {
	var ids []string
	for _, line := range d.received {
		id, _, _ := strings.Cut(line, " ")
		ids = append(ids, id)
	}
	return ids
}

// feed is the events of a relay; its cursors carry the generation of the database.
type feed struct {
	generation string
	ids        []string
	meanwhile  []string // come while an answer is held
	empty      func()   // called when everything was read
}

func (f *feed) ask(_ context.Context, after string, wait bool) (apiclient.Events, error) {
	start := 0
	if after != "" {
		var generation string
		if _, err := fmt.Sscanf(after, "%d-%s", &start, &generation); err != nil || generation != f.generation {
			return apiclient.Events{}, &apiclient.ProblemError{Status: http.StatusGone}
		}
	}
	if wait && start == len(f.ids) {
		f.ids, f.meanwhile = append(f.ids, f.meanwhile...), nil
	}
	page := apiclient.Events{NextCursor: after}
	for i, id := range f.ids[start:min(start+2, len(f.ids))] {
		page.NextCursor = fmt.Sprintf("%d-%s", start+i+1, f.generation)
		page.Data = append(page.Data, apiclient.Event{
			Cursor: page.NextCursor, ID: id, Type: "payment.succeeded", Timestamp: "2026-11-22T10:00:00.000Z",
			Data: json.RawMessage(`{"id":"` + id + `"}`),
		})
	}
	if len(page.Data) == 0 && wait {
		f.empty()
	}
	return page, nil
}

func (d *desk) wantIDs(want ...string) {
	d.t.Helper()
	if got := d.ids(); !slices.Equal(got, want) {
		d.t.Errorf("forwarded %v, want %v; it said:\n%s", got, want, strings.Join(d.said, "\n"))
	}
}

func TestListener_resumesAndStartsOverWithoutRepeating(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	f := &feed{generation: "x", ids: []string{"a", "b", "c"}}
	if err := d.listen(f); err != nil {
		t.Fatal(err)
	}
	if want := `a {"type":"payment.succeeded","timestamp":"2026-11-22T10:00:00.000Z","data":{"id":"a"}}`; len(d.received) == 0 || d.received[0] != want {
		t.Fatalf("forwarded %v, want first %s", d.received, want)
	}
	f.ids = append(f.ids, "d")
	if err := d.listen(f); err != nil {
		t.Fatal(err)
	}
	d.wantIDs("a", "b", "c", "d")

	restored := &feed{generation: "y", ids: []string{"a", "b", "e"}}
	if err := d.listen(restored); err != nil {
		t.Fatal(err)
	}
	d.wantIDs("a", "b", "c", "d", "e")
	restored.ids = append(restored.ids, "f")
	if err := d.listen(restored); err != nil {
		t.Fatal(err)
	}
	d.wantIDs("a", "b", "c", "d", "e", "f")
}

func TestListener_triesAgainAndGivesUpOnGone(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.answers = []int{500, 204, 410}
	if err := d.listen(&feed{generation: "x", ids: []string{"a", "b", "c"}}); err != nil {
		t.Fatal(err)
	}
	d.wantIDs("a", "a", "b", "c")
}

func TestListener_skipsWhatIsThereAtTheFirstRun(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	f := &feed{generation: "x", ids: []string{"a", "b", "c"}}
	skip := func(l *forward.Listener) { l.SkipPresent = true }
	if err := d.listen(f, skip); err != nil {
		t.Fatal(err)
	}
	f.ids = append(f.ids, "d")
	if err := d.listen(f, skip); err != nil {
		t.Fatal(err)
	}
	d.wantIDs("d")
}

func TestListener_forwardsWhatComesBetweenTwoRuns(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	f := &feed{generation: "x"}
	for range 2 {
		if err := d.listen(f, func(l *forward.Listener) { l.SkipPresent = true }); err != nil {
			t.Fatal(err)
		}
		f.ids = append(f.ids, "a")
	}
	d.wantIDs("a")
}

func TestListener_forwardsTheFirstEventOfAnEmptyFeed(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	f := &feed{generation: "x", meanwhile: []string{"a"}}
	if err := d.listen(f, func(l *forward.Listener) { l.SkipPresent = true }); err != nil {
		t.Fatal(err)
	}
	d.wantIDs("a")
}

func TestListener_returnsWhatTheFeedRefuses(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	refused := &apiclient.ProblemError{Status: http.StatusUnauthorized}
	err := d.listen(&feed{}, func(l *forward.Listener) {
		l.Events = func(context.Context, string, bool) (apiclient.Events, error) { return apiclient.Events{}, refused }
	})
	if !errors.Is(err, refused) {
		t.Errorf("Run() = %v, want the feed's error", err)
	}
}

func TestJournal_survivesATornLine(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	open := func() *forward.Journal {
		t.Helper()
		j, err := forward.OpenJournal(folder, "http://relay", "http://localhost:1")
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	j := open()
	if err := errors.Join(j.Add("1-x", "a"), j.Add("2-x", "b"), j.Close()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.journal"))
	if err != nil || len(files) != 1 {
		t.Fatalf("journals = %v, %v; want one", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], append(text, "3-"...), 0o600); err != nil {
		t.Fatal(err)
	}
	j = open()
	if j.Cursor() != "2-x" || !j.Knows("b") {
		t.Errorf("Cursor() = %s after a torn line, want 2-x", j.Cursor())
	}
	if err := errors.Join(j.Add("3-x", "c"), j.Close()); err != nil {
		t.Fatal(err)
	}
	j = open()
	if j.Cursor() != "3-x" || !j.Knows("a") || !j.Knows("c") {
		t.Errorf("Cursor() = %s, want 3-x and all that was forwarded", j.Cursor())
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSecret_isKeptForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "new")
	first, path, err := forward.Secret(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	again, _, err := forward.Secret(folder)
	if err != nil || again != first {
		t.Errorf("Secret() again = %q, %v; want the same", again, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v; want 0600", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := forward.Secret(folder); err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "rubbish") {
		t.Errorf("Secret() = %v, want an error that names the file and does not quote it", err)
	}
}

func TestNewTarget_reachesThisMachineOnly(t *testing.T) {
	t.Parallel()
	secret, err := callback.ParseSecret(callback.NewSecretText())
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"http://localhost:3000/hook", "http://127.0.0.1/x", "https://[::1]:8443/", "http://127.9.9.9:1"} {
		if _, err := forward.NewTarget(url, secret); err != nil {
			t.Errorf("NewTarget(%s) = %v, want nil", url, err)
		}
	}
	for _, url := range []string{"http://shop.example/hook", "http://10.0.0.1", "http://localhost.shop.example", "http://0.0.0.0:3000", "http://[::ffff:10.0.0.1]/"} {
		if _, err := forward.NewTarget(url, secret); !errors.Is(err, forward.ErrNotLoopback) {
			t.Errorf("NewTarget(%s) = %v, want ErrNotLoopback", url, err)
		}
	}
	for _, url := range []string{"localhost:3000", "ftp://localhost", ""} {
		if _, err := forward.NewTarget(url, secret); err == nil {
			t.Errorf("NewTarget(%q) = nil, want an error", url)
		}
	}
}

func TestInvent_everyTypeIsMarkedAsATest(t *testing.T) {
	t.Parallel()
	for _, eventType := range relay.ReportTypes() {
		id, body, err := forward.Invent(eventType, time.Now())
		var event struct {
			Type string
			Test bool
			Data struct{ ID, Operation, Outcome, Status string }
		}
		if err := errors.Join(err, json.Unmarshal(body, &event)); err != nil {
			t.Errorf("Invent(%s): %v", eventType, err)
		}
		if id == "" || event.Type != eventType || !event.Test || event.Data.ID == "" || event.Data.Outcome == "" || event.Data.Status == "" {
			t.Errorf("Invent(%s) = %s, %s; want a whole event of that type, marked as a test", eventType, id, body)
		}
	}
	_, _, err := forward.Invent("payment.done", time.Now())
	var unknown *forward.UnknownTypeError
	if !errors.As(err, &unknown) || !strings.Contains(err.Error(), "payment.contradicted") {
		t.Errorf("Invent(payment.done) = %v, want the list of types", err)
	}
}
