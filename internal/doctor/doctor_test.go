package doctor_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dollr-relay/dollr-relay/internal/doctor"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/internal/sandbox"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// healthy is a relay's surroundings, all well.
func healthy(t *testing.T) (doctor.Options, *[]*http.Request) {
	t.Helper()
	stand := httptest.NewServer(sandbox.New(sandbox.Options{}).Handler())
	t.Cleanup(stand.Close)
	seen := &[]*http.Request{}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*seen = append(*seen, r)
		w.WriteHeader(http.StatusMethodNotAllowed)
	}))
	t.Cleanup(backend.Close)
	return doctor.Options{
		Dollr:       dollr.Options{BaseURL: stand.URL, ClientID: dollrtest.ClientID, ClientSecret: secret.New(dollrtest.ClientSecret), Rate: 10},
		SupabaseURL: stand.URL, SupabaseAnonKey: secret.New(sandbox.AnonKey()),
		DatabaseURL: secret.New("sqlite:" + filepath.Join(t.TempDir(), "relay.db")), CallbackURLs: []string{backend.URL},
	}, seen
}

func examine(t *testing.T, opts doctor.Options) (bool, map[string]doctor.Finding) {
	t.Helper()
	found := map[string]doctor.Finding{}
	fine := doctor.Examine(t.Context(), opts, func(f doctor.Finding) {
		name, _, _ := strings.Cut(f.Name, " 1") // callback names its host
		found[name] = f
	})
	return fine, found
}

func TestExamine_healthy(t *testing.T) {
	t.Parallel()
	opts, seen := healthy(t)
	fine, found := examine(t, opts)
	if !fine || len(found) != 5 {
		t.Errorf("fine = %t with %+v, want all five fine", fine, found)
	}
	if len(*seen) != 1 || (*seen)[0].Method != http.MethodHead {
		t.Errorf("the merchant's endpoint saw %v, want one HEAD and no outcome", *seen)
	}
	if _, err := os.Stat(strings.TrimPrefix(opts.DatabaseURL.Reveal(), "sqlite:")); err == nil {
		t.Error("the doctor made a database")
	}
}

func TestExamine_failures(t *testing.T) {
	t.Parallel()
	moved := httptest.NewServer(http.RedirectHandler("https://elsewhere.example/", http.StatusMovedPermanently))
	t.Cleanup(moved.Close)
	tests := []struct {
		name, check, says, advice string
		breakIt                   func(*testing.T, *doctor.Options)
	}{
		{"wrong client secret", "dollr", "refused", "DOLLR_CLIENT_SECRET", func(_ *testing.T, o *doctor.Options) {
			o.Dollr.ClientSecret = secret.New("wrong-secret-that-must-not-show")
		}},
		{"nobody at Dollr's address", "dollr", "unreachable", "DOLLR_BASE_URL", func(_ *testing.T, o *doctor.Options) {
			o.Dollr.BaseURL = "http://127.0.0.1:1"
		}},
		{"wrong anon key", "supabase", "401", "SUPABASE_ANON_KEY", func(_ *testing.T, o *doctor.Options) {
			o.SupabaseAnonKey = secret.New("not-a-key-and-must-not-show")
		}},
		{"database in a file that is none", "database", "", "RELAY_DATABASE_URL", func(t *testing.T, o *doctor.Options) {
			t.Helper()
			o.DatabaseURL = secret.New("sqlite:" + t.TempDir())
		}},
		{"endpoint redirects", "callback", "redirects", "final address", func(_ *testing.T, o *doctor.Options) {
			o.CallbackURLs = []string{moved.URL}
		}},
		{"endpoint is gone", "callback", "refused", "RELAY_CALLBACK_URLS", func(_ *testing.T, o *doctor.Options) {
			o.CallbackURLs = []string{"http://127.0.0.1:1/hooks"}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			opts, _ := healthy(t)
			tt.breakIt(t, &opts)
			fine, found := examine(t, opts)
			f := found[tt.check]
			if fine || f.OK || !strings.Contains(f.Saw, tt.says) || !strings.Contains(f.Do, tt.advice) {
				t.Errorf("fine = %t, finding %+v; want a failure that says %q and advises %q", fine, f, tt.says, tt.advice)
			}
			for _, each := range found {
				if strings.Contains(each.Saw+each.Do, "must-not-show") {
					t.Errorf("a finding shows a secret: %+v", each)
				}
			}
		})
	}
}
