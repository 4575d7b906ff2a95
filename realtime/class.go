package realtime

import "strings"

// class says what to do about a refusal (§3.4, C12).
type class int

const (
	transient  class = iota // try again with backoff
	credential              // the key is bad: get another one
	refused                 // not allowed or misconfigured: only time and another key may help
	limited                 // a limit of the project: everybody slows down
	perSocket               // the socket's limit of channels: others fit elsewhere
)

// classes lists stable prefixes of the service's texts. What is not listed is transient: a wrong guess costs a few joins.
func classes() []struct {
	prefix string
	class  class
} {
	return []struct {
		prefix string
		class  class
	}{
		{"InvalidJWTToken", credential},
		{"MalformedJWT", credential},
		{"JwtSignatureError", credential},
		{"JwtSignerError", credential},
		{"Token has expired", credential},
		{"Fields `role` and `exp` are required", credential},
		{"The token provided is not a valid JWT", credential},
		{":signature_error", credential},
		{"Failed to generate JWT signer", credential},
		{"Failed to validate JWT signature", credential},

		{"Unauthorized", refused},
		{"PrivateOnly", refused},
		{"You do not have permissions", refused},
		{"You no longer have permission", refused},
		{"TopicNameRequired", refused},
		{"TenantNotFound", refused},
		{"RealtimeDisabledForTenant", refused},

		{"ChannelRateLimitReached", perSocket},
		{"ConnectionRateLimitReached", limited},
		{"ClientJoinRateLimitReached", limited},
		{"Too many messages per second", limited},
		{"DatabaseConnectionRateLimitReached", limited},
		{"DatabaseLackOfConnections", limited},
		{"IncreaseConnectionPool", limited},
	}
}

func classify(reason string) class {
	for _, c := range classes() {
		if strings.HasPrefix(reason, c.prefix) {
			return c.class
		}
	}
	return transient
}

// classifySystem is for `system` errors of the change feed (§3.3): those of the request itself are final for the server,
// which will not try again; the others it retries by itself, after 5 to 10 s.
func classifySystem(text string) class {
	switch {
	case strings.HasPrefix(text, "Error parsing `filter` params"),
		strings.HasPrefix(text, "No subscription params provided"),
		strings.HasPrefix(text, "Unable to subscribe to changes with given parameters"):
		return refused
	}
	return transient
}

// word is the class as a reason of a Lost event.
func (c class) word() string {
	switch c {
	case credential:
		return "credential"
	case refused:
		return "refused"
	case limited, perSocket:
		return "limit"
	case transient:
	}
	return "join_error"
}
