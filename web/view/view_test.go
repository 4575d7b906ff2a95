package view_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/dollr-relay/dollr-relay/web/view"
)

func TestOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		payment view.Payment
		want    view.State
		notes   string
		after   time.Duration
	}{
		{"at first", view.Payment{Outcome: "pending"}, view.Waiting, "", 3 * time.Second},
		{"after a minute", view.Payment{Outcome: "pending", Age: time.Minute}, view.Waiting, "slow", 3 * time.Second},
		{"in trouble", view.Payment{Outcome: "pending", Age: time.Hour, Degraded: true}, view.Waiting, "slow degraded", 30 * time.Second},
		{"a hint of success", view.Payment{Outcome: "succeeded"}, view.Confirming, "", 3 * time.Second},
		{"a hint of failure in trouble", view.Payment{Outcome: "failed", Degraded: true}, view.Confirming, "degraded", 3 * time.Second},
		{"a final word that nobody knows", view.Payment{Outcome: "gone", Final: true}, view.Confirming, "", 3 * time.Second},
		{"success", view.Payment{Outcome: "succeeded", Final: true, Age: time.Hour, Degraded: true}, view.Succeeded, "", 0},
		{"failure", view.Payment{Outcome: "failed", Final: true}, view.Failed, "", 0},
		{"cancellation", view.Payment{Outcome: "canceled", Final: true}, view.Canceled, "", 0},
		{"another amount", view.Payment{Outcome: "mismatch", Final: true}, view.Mismatch, "slow", 0},
		{"no answer", view.Payment{Outcome: "expired", Final: true}, view.Expired, "slow", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := view.Of(tt.payment)
			if notes := strings.Join(got.Notes, " "); got.State != tt.want || notes != tt.notes || got.After != tt.after {
				t.Errorf("Of(%+v) = %s with %q, again after %s, want %s with %q after %s", tt.payment, got.State, notes, got.After, tt.want, tt.notes, tt.after)
			}
		})
	}
}

// TestTexts_areThoseOfTheElement reads the sources of <dollr-status>, so that the two never say different things.
func TestTexts_areThoseOfTheElement(t *testing.T) {
	t.Parallel()
	var texts map[string]map[string]string
	decode(t, read(t, "texts.json"), &texts)
	keys := []string{}
	signs := map[string]string{}
	for _, line := range regexp.MustCompile(`(?m)^  (\w+): (ring \+ )?"(.*)",$`).FindAllStringSubmatch(read(t, "../snippet/style.ts"), -1) {
		keys = append(keys, line[1])
		if line[2] != "" {
			line[3] = "M12 2a10 10 0 1 0 .01 0z" + line[3]
		}
		signs[line[1]] = line[3]
	}
	keys = append(keys, "slow", "offline", "degraded")
	languages := regexp.MustCompile(`(?m)^  (\w\w):\n    "(.*)",$`).FindAllStringSubmatch(read(t, "../snippet/texts.ts"), -1)
	if len(languages) != len(texts) || len(keys) != 10 {
		t.Fatalf("the element has %d languages and %d texts in each, the page %d languages: is this how its source looks?", len(languages), len(keys), len(texts))
	}
	for _, language := range languages {
		said := strings.Split(language[2], "|")
		for i, key := range keys {
			if got, want := texts[language[1]][key], said[i]; key != "offline" && got != want {
				t.Errorf("%s.%s = %q, the element says %q", language[1], key, got, want)
			}
		}
	}
	views, err := view.New()
	if err != nil {
		t.Fatal(err)
	}
	for state, sign := range signs {
		var page strings.Builder
		if err := views.Render(&page, view.Page{State: view.State(state)}, "en", ""); err != nil {
			t.Fatal(err)
		}
		if want := `<path d="` + sign + `"/>`; !strings.Contains(page.String(), want) {
			t.Errorf("%s has another sign than the element's %s", state, want)
		}
	}
}

func TestTexts_areCompleteInEachLanguage(t *testing.T) {
	t.Parallel()
	var texts map[string]map[string]string
	decode(t, read(t, "texts.json"), &texts)
	views, err := view.New()
	if err != nil {
		t.Fatal(err)
	}
	for lang, said := range texts {
		if got := views.Language(lang); got != lang {
			t.Errorf("who wants %s is spoken to in %s", lang, got)
		}
		for key := range texts["en"] {
			if said[key] == "" || lang != "en" && said[key] == texts["en"][key] {
				t.Errorf("%s.%s = %q", lang, key, said[key])
			}
		}
	}
}

func TestRender_quotesWhateverStandsInATokensPlace(t *testing.T) {
	t.Parallel()
	views, err := view.New()
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	evil := `"><script>alert(1)</script>&lang=xx;url=https://evil.example`
	if err := views.Render(&page, view.Of(view.Payment{Outcome: "pending"}), "en", evil); err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(strings.NewReader(page.String()))
	if err != nil {
		t.Fatal(err)
	}
	elements := map[string]int{}
	for n := range root.Descendants() {
		elements[n.Data]++
		for _, a := range n.Attr {
			if n.Data == "a" && a.Key == "href" && !strings.HasPrefix(a.Val, "?token=%22%3E%3Cscript") {
				t.Errorf("a link leads to %q", a.Val)
			}
			if a.Key == "content" && strings.HasPrefix(a.Val, "3;") && a.Val != "3; url=?token=%22%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E%26lang%3Dxx%3Burl%3Dhttps%3A%2F%2Fevil.example&lang=en" {
				t.Errorf("the page loads %q", a.Val)
			}
		}
	}
	if elements["script"] != 0 || elements["a"] != 6 || elements["meta"] != 5 {
		t.Errorf("elements %v, want no script, 6 links and 5 meta", elements)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}
