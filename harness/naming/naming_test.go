package naming

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for _, name := range []string{
		"gnet", "prüfung", "plan@v2", "check(1)", "_mine", strings.Repeat("x", 70), strings.Repeat("x", 200), "my@server", "c#-x",
		"netns-2-ipv6-delay5ms", "a.b+c", "計画", "e\u0301tude", "9", "(x)", "@x",
	} {
		if err := Check("name", name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", "~old", "#1", ".hidden", "..", "-rf", "+x", ")", "a b", "a/b", `a\b`, "a,b", "a'b", `a"b`, "a`b", "a$b", "a|b", "a<b", "a*", "a?", "a;b", "a&b", "=x", "a=b", "a:b", "a%b", "a!",
		"a\nb", "a\x1b[2J", "a\u202eb", "a\u200bb", "\u0301e", "a\xffb", "a\uFFFDb", strings.Repeat("x", 201), strings.Repeat("ü", 101),
	} {
		err := Check("plan.toml:1: name", name)
		if err == nil {
			t.Errorf("%q is allowed", name)
		} else if text := err.Error(); !strings.HasPrefix(text, "plan.toml:1: name: ") || len(text) > 300 || strings.ContainsAny(text, "\x1b\n") {
			t.Errorf("%q: %q", name, text)
		}
	}
}
