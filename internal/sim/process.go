package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/internal/pipenet"
	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/relay/callback"
	"github.com/dollr-relay/dollr-relay/relay/store/storetest"
)

// Secrets of the relay and settings that the referee knows.
const (
	apiKey         = "sim-api-key-with-at-least-32-characters" //nolint:gosec // opens nothing
	pageSecret     = "sim-page-secret-with-at-least-32-characters"
	callbackSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=" //nolint:gosec // likewise

	shortestPoll  = time.Second
	longestPoll   = time.Minute
	auditEvery    = 30 * time.Second
	reconcile     = 2 * time.Minute
	grace         = 4 * time.Second
	relayHost     = "relay.test"
	adminHost     = "admin.test"
	bankHost      = "localhost" // plain http only there
	supabaseHost  = "realtime.test"
	processHeader = "Sim-Process"
)

func schedule() []time.Duration {
	return []time.Duration{0, 5 * time.Second, 15 * time.Second, 30 * time.Second, 30 * time.Second, 30 * time.Second, 30 * time.Second, 30 * time.Second}
}

// process is one life of the relay.
type process struct {
	world         *world
	number        int
	post          int // among several replicas
	path          string
	line          *line
	disk          *storetest.Disk
	public, admin *pipenet.Listener
	end           context.CancelFunc
	ended         chan struct{} // closed when Run has returned
	died          chan struct{} // closed when it was killed

	mu    sync.Mutex
	armed *crash
	seen  int    // of what the armed crash counts
	dead  bool   // nothing that it does counts any more
	copy  string // where its files were copied to when it died
}

// name is how the process calls itself in its requests.
func (p *process) name() string { return strconv.Itoa(p.number) }

// launch starts the relay on the database at path, trying again while the disk does not let it.
func (w *world) launch(ctx context.Context, path string) { w.launchAt(ctx, 0, path) }

// launchAt starts the one that has a post among several.
func (w *world) launchAt(ctx context.Context, post int, path string) {
	for ctx.Err() == nil {
		err := w.tryLaunch(ctx, post, path)
		if err == nil {
			return
		}
		w.history.note("world", "the relay does not start: %v", err)
		if _, full := w.plan.on(w.now(), func(s spell) bool { return s.what == diskFull }); !full && !w.plan.mishap(w.now(), databaseGone, 0) {
			w.referee.fail("starts", "the relay does not start: %v", err)
			return
		}
		if w.database != nil {
			w.database.disturb() // it may be the last one that could take anything over
		}
		sleep(ctx, 500*time.Millisecond)
	}
}

func (w *world) tryLaunch(ctx context.Context, post int, path string) error {
	if w.database != nil {
		link, err := w.database.link()
		if err != nil {
			return err
		}
		path = link
	}
	w.mu.Lock()
	w.number++
	p := &process{
		world: w, number: w.number, post: post, path: path, line: w.net.line(), ended: make(chan struct{}), died: make(chan struct{}),
	}
	w.mu.Unlock()
	p.line.bars = func(host string) bool { return host == supabaseHost && w.plan.mishap(w.now(), realtimeAway, post) }
	p.disk = storetest.Watch(path, p.commit)
	signing, err := callback.ParseSecret(callbackSecret)
	if err != nil {
		return err
	}
	public, admin := pipenet.Listen(relayHost), pipenet.Listen(adminHost)
	// A question on a connection that was kept open would be repeated by net/http if that breaks: the referee could not tell.
	upstream := &http.Transport{DialContext: p.line.dial, DisableKeepAlives: true}
	backends := &http.Transport{DialContext: p.line.dial}
	random := &jitter{dice: w.dice}
	p.public, p.admin = public, admin
	options := app.Options{
		Logger: slog.New(slog.NewTextHandler(&logbook{process: p}, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: withoutTime})),
		Public: door{public, p.line}, Admin: door{admin, p.line},
		HTTPClient:        &http.Client{Transport: stamp{p.name(), upstream}},
		CallbackTransport: stamp{p.name(), backends},
		Now:               w.wall, Random: random.float64,
	}
	if w.database != nil {
		options.Shared = &seat{database: w.database, process: p}
	}
	a, err := app.New(ctx, w.config(path, signing), options)
	if err != nil {
		p.disk.Release()
		return err
	}
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	p.end = end
	go func() {
		err := a.Run(running)
		p.mu.Lock()
		dead := p.dead
		p.mu.Unlock()
		if running.Err() == nil || err != nil && !dead {
			w.referee.fail("runs until it is asked to stop", "Run of the relay has ended with %v", err)
		}
		upstream.CloseIdleConnections()
		backends.CloseIdleConnections()
		p.line.sever()
		p.disk.Release()
		close(p.ended)
	}()
	w.net.serve(relayHost, public)
	w.net.serve(adminHost, admin)
	w.mu.Lock()
	w.posts[post] = p
	if w.database != nil {
		w.database.disturb()
	}
	w.lives = append(w.lives, p)
	w.mu.Unlock()
	w.history.note("world", "relay#%d starts", p.number)
	return nil
}

func (w *world) config(path string, signing callback.Secret) app.Config {
	var urls []string
	for _, s := range w.shops {
		urls = append(urls, s.url())
	}
	return app.Config{
		DollrBaseURL: "http://" + bankHost, DollrClientID: dollrtest.ClientID, DollrClientSecret: secret.New(dollrtest.ClientSecret), DollrRate: w.plan.rate,
		SupabaseURL: "http://" + supabaseHost, SupabaseAnonKey: secret.New(w.bank.anonKey),
		PublicURL: &url.URL{Scheme: "http", Host: relayHost}, DatabaseURL: secret.New("sqlite:" + path),
		APIKeys: []secret.Value{secret.New(apiKey)}, PageSecrets: []secret.Value{secret.New(pageSecret)}, PageTokenTTL: time.Hour, MaxPages: 100,
		CallbackURLs: urls, CallbackSecrets: []callback.Secret{signing}, CallbackSchedule: schedule(),
		WatchFor: 72 * time.Hour, ReconcileEvery: reconcile, PollMin: shortestPoll, PollMax: longestPoll, AuditEvery: auditEvery,
		RealtimeWindow: w.plan.window, ShutdownGrace: grace, Version: "sim",
	}
}

// stamp marks requests with the process that sends them.
type stamp struct {
	number string
	next   http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (s stamp) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(processHeader, s.number)
	return s.next.RoundTrip(r)
}

// Why a commit does not happen.
var (
	errDead     = errors.New("the process is dead")
	errDiskFull = errors.New("the disk is full")
)

// commit is called before every commit to the process' database. It takes a moment of virtual time, as a disk does: what is done
// too early is seen too early, in every replay.
func (p *process) commit() error {
	draw := p.world.dice.roll("disk", p.number, time.Now().UnixNano())
	took := between(draw, 50*time.Microsecond, 5*time.Millisecond)
	if chance(draw, 0.01) {
		took *= 100
	}
	time.Sleep(took)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return errDead
	}
	if s, full := p.world.plan.on(p.world.now(), func(s spell) bool { return s.what == diskFull }); full {
		if chance(draw, s.share) {
			p.world.history.note("disk", "full: a commit of relay#%d is refused", p.number)
			return errDiskFull
		}
	}
	if p.world.plan.mishap(p.world.now(), databaseGone, 0) {
		return errAway
	}
	switch {
	case p.dueLocked("before_commit"):
		p.copyLocked() // in the middle of the transaction
		p.dieLocked("before a commit")
		return errDead
	case p.dueLocked("after_commit"):
		p.dieLocked("after a commit, before anybody heard of it")
	}
	return nil
}

// dueLocked counts something that crashes may wait for, and reports whether this is the one.
func (p *process) dueLocked(when string) bool {
	if p.dead || p.armed == nil || p.armed.when != when {
		return false
	}
	p.seen++
	return p.seen == p.armed.count
}

// reached is called when something happens outside of the process that crashes may wait for.
func (p *process) reached(when string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dueLocked(when) {
		p.dieLocked(strings.ReplaceAll(when, "_", " "))
	}
}

// dieLocked ends the process as kill -9 does, as far as anybody else can see.
func (p *process) dieLocked(how string) {
	p.dead = true
	p.world.history.note("world", "relay#%d is killed: %s", p.number, how)
	p.line.sever()
	p.line.thaw()
	close(p.died)
}

func (p *process) copyLocked() {
	if p.copy != "" || p.world.database != nil { // others go on with the file
		return
	}
	p.copy = p.world.databasePath()
	if err := storetest.Copy(p.path, p.copy); err != nil {
		p.world.referee.fail("simulator", "copy the database: %v", err)
	}
}

// execute carries out the plan's crashes and stops, one after the other.
func (w *world) execute(ctx context.Context) {
	for _, c := range w.plan.crashes {
		if !w.sleepUntil(ctx, c.after) {
			return
		}
		p := w.current()
		if p == nil {
			return // it did not start: reported already
		}
		if c.when == "stop" {
			w.history.note("world", "relay#%d is asked to stop", p.number)
			p.stop()
			sleep(ctx, c.down)
			w.launch(ctx, p.path)
			continue
		}
		path, died := p.await(ctx, c)
		if !died {
			continue
		}
		w.leave(p)
		p.end()
		sleep(ctx, c.down)
		w.launch(ctx, path)
	}
}

// await arms a crash and waits for it, at most until the trouble is over. It returns where the database is.
func (p *process) await(ctx context.Context, c crash) (path string, died bool) {
	p.mu.Lock()
	p.armed, p.seen = &c, 0
	if c.when == "now" {
		p.dieLocked("now")
	}
	p.mu.Unlock()
	over, cancel := context.WithTimeout(ctx, p.world.plan.lasts-p.world.now())
	defer cancel()
	select {
	case <-p.died:
	case <-over.Done():
		p.mu.Lock()
		p.armed = nil
		died = p.dead
		p.mu.Unlock()
		if !died {
			return "", false
		}
	}
	time.Sleep(time.Nanosecond) // virtual: what was being committed is committed now, and nothing after it can be
	p.mu.Lock()
	defer p.mu.Unlock()
	p.copyLocked()
	return p.copy, true
}

// stop ends the process gracefully.
func (p *process) stop() {
	p.line.rest() // who is frozen hears no signal
	asked := time.Now()
	p.end()
	<-p.ended
	took := time.Since(asked)
	if took > grace+time.Second {
		p.world.referee.fail("stops within the grace period", "relay#%d took %s to stop", p.number, took)
	}
	p.world.leave(p)
	const step = 100 * time.Millisecond // net/http looks whether all requests have ended at moments that no seed draws
	time.Sleep(took.Truncate(step) + step - took)
}

// logbook reads what the relay logs.
type logbook struct{ process *process }

// Write implements [io.Writer].
func (l *logbook) Write(line []byte) (int, error) {
	who := fmt.Sprintf("relay#%d", l.process.number)
	text := strings.TrimSpace(string(line))
	l.process.world.referee.secrets("the log", text)
	l.process.world.history.note(who, "%s", text)
	return len(line), nil
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
