package api

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// clientAddress is who sent a request: the nearest address that is no trusted proxy.
func (s *Server) clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	forwarded := r.Header.Values("X-Forwarded-For")
	if len(forwarded) > 0 && !s.trusts(host) {
		s.warnOfProxy(r.Context(), host)
	}
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	for i := len(hops) - 1; i >= 0 && s.trusts(host); i-- {
		hop, ok := hopAddress(hops[i])
		if !ok {
			break
		}
		host = hop
	}
	return host
}

// hopAddress reads one entry of X-Forwarded-For; some proxies add a port.
func hopAddress(entry string) (string, bool) {
	entry = strings.TrimSpace(entry)
	if addr, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil {
		return addr.String(), true
	}
	if withPort, err := netip.ParseAddrPort(entry); err == nil {
		return withPort.Addr().String(), true
	}
	return "", false
}

func (s *Server) trusts(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, prefix := range s.TrustedProxies {
		if prefix.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

// warnOfProxy tells the operator, once, that somebody claims to forward requests: either a proxy
// that should be trusted, behind which all customers look like one, or a client that lies.
func (s *Server) warnOfProxy(ctx context.Context, host string) {
	s.proxyWarning.Do(func() {
		s.Logger.WarnContext(ctx, "X-Forwarded-For comes from an address that RELAY_TRUSTED_PROXIES does not name; it is ignored", slog.String("peer", host))
	})
}
