package pgtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// listen listens on a port of loopback, or on any that is free: one below those that the system gives to whoever asks for
// any, so that nobody takes it while it is closed for some time.
func listen(port string) (listener net.Listener, err error) {
	if port != "" {
		return net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)) //nolint:noctx // a stand-in for tests
	}
	for range 100 {
		if listener, err = listen(fmt.Sprint(20_000 + rand.IntN(12_000))); err == nil {
			return listener, nil
		}
	}
	return nil, errors.Join(errors.New("pgtest: no port is free"), err)
}
