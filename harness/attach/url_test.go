package attach

import (
	"strings"
	"testing"

	"connbench/harness/explain"
)

func TestParseURL(t *testing.T) {
	for text, want := range map[string]Place{
		"ws://127.0.0.1:8080/chat?room={n}": {"127.0.0.1", 8080, "", false, "127.0.0.1:8080", "/chat?room={n}"},
		"ws://localhost":                    {"localhost", 80, "", false, "localhost", "/"},
		"wss://localhost":                   {"localhost", 443, "", true, "localhost", "/"},
		"ws://[::1]:9/":                     {"::1", 9, "", false, "[::1]:9", "/"},
		"ws://chat.example?x=/y":            {"chat.example", 80, "", false, "chat.example", "/?x=/y"},
		"http://localhost/a?b":              {"localhost", 80, "http", false, "localhost", "/a?b"},
		"https://localhost":                 {"localhost", 443, "http", true, "localhost", "/"},
		"WS://h:1/%7Bn%7D":                  {"h", 1, "", false, "h:1", "/%7Bn%7D"},
	} {
		if got, err := ParseURL(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "127.0.0.1:80", "ws:", "ws:///chat", "ws://h:0/", "ws://h:65536/", "ws://h:x/", "ws://u:p@h/", "ws://h/#f", "https://h/#f", "http:///", "ftp://h/", "ws://h\n/",
	} {
		_, err := ParseURL(text)
		if err == nil || explain.HintOf(err) == "" || strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("%q: %v, with the hint %q", text, err, explain.HintOf(err))
		}
	}
}

// What a query holds is not published.
func TestPublic(t *testing.T) {
	for url, want := range map[string]string{"ws://h/chat?token=x": "ws://h/chat?…", "ws://h/chat": "ws://h/chat"} {
		if got := Public(url); got != want {
			t.Errorf("%s is published as %s", url, got)
		}
	}
}
