package api

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// freshShare is the share of a key's life below which a new one is minted: whoever listens with
	// it renews it before its end, and must not be given the same one again then.
	freshShare = 0.25
	// mintTimeout bounds a mint, which goes on although the page that asked has left: the next asks soon.
	mintTimeout = 15 * time.Second
	// maxKeys bounds the cache; beyond it the dead keys are thrown out.
	maxKeys = 4096
)

// keyCache gives a realtime key again while it has life left. Pages of one payment share it, and a
// page that reconnects often costs Dollr nothing.
type keyCache struct {
	minter KeyMinter
	flight singleflight.Group

	mu      sync.Mutex
	held    map[KeyRequest]heldKey
	sweepAt int
}

type heldKey struct {
	RealtimeKey

	minted, ends time.Time
}

// left is the rest of its life. Both clocks count: a wrong wall clock does no harm, and the other one stands still while
// the machine sleeps.
func (h heldKey) left(now time.Time) time.Duration {
	return min(h.ends.Sub(now), h.ends.Round(0).Sub(now.Round(0)))
}

func newKeyCache(minter KeyMinter) *keyCache {
	return &keyCache{minter: minter, held: map[KeyRequest]heldKey{}, sweepAt: maxKeys}
}

// MintKey implements [KeyMinter]: ExpiresIn is the rest of the key's life.
func (k *keyCache) MintKey(ctx context.Context, r KeyRequest) (RealtimeKey, error) {
	name := r
	name.OpenPage = false // the same key, whoever asks
	if key, ok := k.find(name); ok {
		return key, nil
	}
	minted := k.flight.DoChan(fmt.Sprint(name), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), mintTimeout)
		defer cancel()
		started := time.Now() // its life counts from before the question, to be on the safe side
		key, err := k.minter.MintKey(ctx, r)
		if err == nil {
			k.keep(name, heldKey{key, started, started.Add(time.Duration(key.ExpiresIn) * time.Second)})
		}
		return key, err
	})
	select {
	case <-ctx.Done():
		return RealtimeKey{}, ctx.Err()
	case result := <-minted:
		key, _ := result.Val.(RealtimeKey)
		return key, result.Err
	}
}

func (k *keyCache) find(name KeyRequest) (RealtimeKey, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	held, ok := k.held[name]
	left := held.left(time.Now())
	if !ok || left < time.Duration(freshShare*float64(held.ends.Sub(held.minted))) {
		return RealtimeKey{}, false
	}
	key := held.RealtimeKey
	key.ExpiresIn = int64(left / time.Second)
	return key, key.ExpiresIn > 0
}

func (k *keyCache) keep(name KeyRequest, key heldKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.held) >= k.sweepAt {
		now := time.Now()
		for name, held := range k.held {
			if held.left(now) <= 0 {
				delete(k.held, name)
			}
		}
		k.sweepAt = max(maxKeys, 2*len(k.held))
	}
	k.held[name] = key
}
