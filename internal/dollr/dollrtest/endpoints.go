package dollrtest

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// obtainToken is POST /v1/jwt/client/obtain/token. Its expires_in is in minutes.
func (s *Server) obtainToken(r *http.Request) answer {
	var in struct {
		ClientID     *string `json:"client_id"`
		ClientSecret *string `json:"client_secret"`
	}
	if json.NewDecoder(r.Body).Decode(&in) != nil {
		return invalid("body", "", "value is not a valid dict", "type_error.dict")
	}
	if in.ClientID == nil {
		return invalid("body", "client_id", "field required", "value_error.missing")
	}
	if in.ClientSecret == nil {
		return invalid("body", "client_secret", "field required", "value_error.missing")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if *in.ClientID != s.opts.ClientID || subtle.ConstantTimeCompare([]byte(*in.ClientSecret), []byte(s.opts.ClientSecret)) != 1 {
		return problem(http.StatusUnauthorized, "Could not validate credentials")
	}
	token := "tok_" + rand.Text()
	s.tokens[token] = s.opts.Now().Add(s.opts.TokenLife)
	return ok(map[string]any{"access_token": token, "expires_in": int64(s.opts.TokenLife / time.Minute)})
}

// RevokeTokens makes every token that was handed out worthless.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// SetClientSecret changes the secret and revokes all tokens, as a rotation in the merchant portal does.
func (s *Server) SetClientSecret(clientSecret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.ClientSecret = clientSecret
	clear(s.tokens)
}

// authorized lets only requests with a good token through.
func (s *Server) authorized(serve endpoint) endpoint {
	return func(r *http.Request) answer {
		token, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !isBearer {
			return problem(http.StatusUnauthorized, "Not authenticated")
		}
		s.mu.Lock()
		until, known := s.tokens[token]
		s.mu.Unlock()
		if !known || !s.opts.Now().Before(until) {
			return problem(http.StatusUnauthorized, "Could not validate credentials")
		}
		return serve(r)
	}
}

// mintKey is POST /v1/realtime-keys/collection. Its expires_in is in seconds.
func (s *Server) mintKey(r *http.Request) answer {
	var in map[string]json.RawMessage
	if json.NewDecoder(r.Body).Decode(&in) != nil {
		return invalid("body", "", "value is not a valid dict", "type_error.dict")
	}
	for _, field := range []string{"session_id", "source_type", "reference_id"} {
		if _, has := in[field]; !has {
			return invalid("body", field, "field required", "value_error.missing")
		}
	}
	sessionID, err := strconv.ParseInt(string(in["session_id"]), 10, 64)
	if err != nil {
		return invalid("body", "session_id", "value is not a valid integer", "type_error.integer")
	}
	var sourceType, referenceID string
	if json.Unmarshal(in["source_type"], &sourceType) != nil || sourceType != "INVOICE" && sourceType != "ORDER" {
		return invalid("body", "source_type", "value is not a valid enumeration member", "type_error.enum")
	}
	if id, err := uuidField(in["reference_id"], &referenceID); err != nil || id.Version() != 4 {
		return invalid("body", "reference_id", "value is not a valid uuid", "type_error.uuid")
	}
	key, err := s.MintKey(sessionID, referenceID, s.opts.KeyLife)
	if err != nil {
		return problem(http.StatusInternalServerError, err.Error())
	}
	return ok(map[string]any{"access_token": key, "expires_in": int64(s.opts.KeyLife / time.Second)})
}

func uuidField(raw json.RawMessage, text *string) (uuid.UUID, error) {
	if err := json.Unmarshal(raw, text); err != nil {
		return uuid.UUID{}, err
	}
	return uuid.Parse(*text)
}

// MintKey signs a realtime key as the endpoint does, also one that has expired already.
func (s *Server) MintKey(sessionID int64, referenceID string, life time.Duration) (string, error) {
	now := s.opts.Now()
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"role": "authenticated", "aud": "authenticated",
		"session_id": sessionID, "reference_id": strings.ToLower(referenceID),
		"iat": now.Unix(), "exp": now.Add(life).Unix(),
	}).SignedString(s.opts.JWTSecret)
}

// execution is GET /v1/status/{operation}/{reference_id}.
func (s *Server) execution(operation string) endpoint {
	return func(r *http.Request) answer {
		id, err := uuid.Parse(r.PathValue("reference_id"))
		if err != nil {
			return invalid("path", "reference_id", "value is not a valid uuid", "type_error.uuid")
		}
		p, err := s.Find(ExecutionKey(operation, id.String()))
		if err != nil {
			return problem(http.StatusNotFound, "Execution not found")
		}
		fields := map[string]any{
			"reference_id": p.ReferenceID, "status": p.Status, "operation_type": strings.ToUpper(operation),
			"provider_transaction_id": nil, "gateway_message": nullable(p.GatewayMessage), "wallet_message": nil,
			"requires_action": p.ClientSecret != "", "client_secret": nullable(p.ClientSecret),
		}
		setMoney(fields, "payer_amount", p.PayerAmount, "payer_currency", p.PayerCurrency)
		setMoney(fields, "payee_amount", p.PayeeAmount, "payee_currency", p.PayeeCurrency)
		return ok(fields)
	}
}

// source is GET /v1/status/source.
func (s *Server) source(r *http.Request) answer {
	query := r.URL.Query()
	kind := query.Get("source_type")
	if kind != "INVOICE" && kind != "ORDER" {
		return invalid("query", "source_type", "value is not a valid enumeration member", "type_error.enum")
	}
	id, err := strconv.ParseInt(query.Get("source_id"), 10, 64)
	if err != nil {
		return invalid("query", "source_id", "value is not a valid integer", "type_error.integer")
	}
	p, err := s.Find(SourceKey(kind, id))
	if err != nil {
		return problem(http.StatusNotFound, "Source not found")
	}
	fields := map[string]any{
		"source_id": p.SourceID, "source_type": p.SourceType, "source_number": kind[:3] + "-" + strconv.FormatInt(p.SourceID, 10),
		"status": p.Status, "paid_at": nil,
	}
	if p.Status == "PAID" {
		fields["paid_at"] = s.opts.Now().UTC().Format(time.RFC3339)
	}
	setMoney(fields, "total_amount", p.TotalAmount, "currency", p.Currency)
	return ok(fields)
}

// setMoney adds an amount as a number with its digits as they were written, and its currency, where there are any.
func setMoney(fields map[string]any, amountName, amount, currencyName, currency string) {
	if amount != "" {
		fields[amountName] = json.Number(amount)
	}
	if currency != "" {
		fields[currencyName] = currency
	}
}

func nullable(text string) any {
	if text == "" {
		return nil
	}
	return text
}
