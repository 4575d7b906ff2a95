package console

import (
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// maxForm bounds the body of a form, which carries a token and nothing else.
const maxForm = 4 << 10

// guard lets in who asked for this machine by name. A website may have its own name point here (DNS rebinding) and then
// read what a browser of this network gets; but it cannot have the browser name another host than its own.
func (c *Console) guard(next http.Handler) http.Handler {
	sameSite := http.NewCrossOriginProtection() // refuses forms of other websites by Sec-Fetch-Site and Origin
	next = sameSite.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !c.isOurs(r) {
			http.Error(w, "This console answers at loopback addresses, at the address it is reached at, and at the host of RELAY_ADMIN_LISTEN. "+
				"To reach it by another name, tunnel to it: ssh -L 9090:127.0.0.1:9090 HOST, or kubectl port-forward.", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isOurs reports whether a request names this listener's host: a loopback name or address, the address on which the
// connection came in, or the configured name. No website can have such a name.
func (c *Console) isOurs(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host == "localhost" || host != "" && strings.EqualFold(host, c.Host)
	}
	ip = ip.Unmap()
	if ip.IsLoopback() {
		return true
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if tcp, ok := local.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("") == ip && !ip.IsUnspecified()
	}
	return false
}

// action lets a form do something once its token shows that it is one of ours, and then shows the page that it names.
func (c *Console) action(do func(r *http.Request) (next string, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if subtle.ConstantTimeCompare([]byte(r.PostFormValue("csrf")), []byte(c.csrf)) != 1 {
			c.trouble(w, r, errStaleForm)
			return
		}
		next, err := do(r)
		if err != nil {
			c.trouble(w, r, err)
			return
		}
		http.Redirect(w, r, next, http.StatusSeeOther)
	}
}
