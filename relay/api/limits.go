package api

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"
)

// Limits per caller. They are generous, because mobile carriers put thousands of customers behind
// one address; they stop a script that has run wild, not a busy shop.
const (
	pagesPerSecond, pagesBurst     = 100, 1000 // page requests of one address
	keysPerSecond, keysBurst       = 10, 100   // realtime keys for one address
	payKeysPerSecond, payKeysBurst = 1, 30     // realtime keys of one payment
	badKeysPerSecond, badKeysBurst = 5, 50     // requests of one address without a right API key
)

// sweepAbove is how many buckets are kept before the full ones are forgotten.
const sweepAbove = 4096

// buckets is a token bucket for each of many callers. A full one is as good as none, and is forgotten.
type buckets struct {
	limit rate.Limit
	burst int

	mu      sync.Mutex
	byKey   map[string]*rate.Limiter
	sweepAt int
}

func newBuckets(perSecond float64, burst int) *buckets {
	return &buckets{limit: rate.Limit(perSecond), burst: burst, byKey: map[string]*rate.Limiter{}, sweepAt: sweepAbove}
}

// take returns 0 if the caller may go on, else how long it should wait. The empty key is not limited.
func (b *buckets) take(key string) time.Duration {
	if key == "" {
		return 0
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	bucket := b.byKey[key]
	if bucket == nil {
		b.sweepLocked(now)
		bucket = rate.NewLimiter(b.limit, b.burst)
		b.byKey[key] = bucket
	}
	if bucket.AllowN(now, 1) {
		return 0
	}
	return time.Duration((1 - bucket.TokensAt(now)) / float64(b.limit) * float64(time.Second))
}

func (b *buckets) sweepLocked(now time.Time) {
	if len(b.byKey) < b.sweepAt {
		return
	}
	for key, bucket := range b.byKey {
		if bucket.TokensAt(now) >= float64(b.burst) {
			delete(b.byKey, key)
		}
	}
	b.sweepAt = max(sweepAbove, 2*len(b.byKey)) // so that a flood of addresses does not sweep at each request
}

// limitAddress bounds the page requests of one address.
func (s *Server) limitAddress(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if wait := s.pageLimit.take(limitKey(c)); wait > 0 {
			return tooMany("Too many requests from this address.", wait)
		}
		return next(c)
	}
}

func tooMany(detail string, wait time.Duration) *problem {
	return retryLater(http.StatusTooManyRequests, detail, wait)
}

// limitKey is the caller whose requests are counted together: an IPv4 address or an IPv6 network
// of 64 bits, which is what one customer gets. It is empty on loopback: that is a proxy which
// RELAY_TRUSTED_PROXIES does not name, and all its customers would share one bucket.
func limitKey(c echo.Context) string {
	addr, err := netip.ParseAddr(c.RealIP())
	if err != nil || addr.IsLoopback() {
		return ""
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return addr.String()
	}
	return network.String()
}
