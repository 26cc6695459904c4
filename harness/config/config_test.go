package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type file struct {
	Name   string   `toml:"name"`
	Rounds int      `toml:"rounds"`
	List   []string `toml:"list"`
	Server struct {
		Port  int               `toml:"port"`
		Extra map[string]string `toml:"extra"`
	} `toml:"server"`
	Hosts []struct {
		Name string `toml:"name"`
	} `toml:"host"`
	Hidden string `toml:"-"`
}

func TestMistakesHaveTheirLine(t *testing.T) {
	const text = `name = "x"

server = { port = 7, extra = { a = "b" } }
[[host]]
name = "one"
[[host]]
# a comment
  name = "two"
`
	var f file
	err := Decode("a.toml", []byte(text), &f, func() []string {
		return []string{
			"name: bad", "server.port is 7", "server.extra.a: bad", "host[1].name is two", "host[1].cpus: bad", "host: too few", "server.nothing is 0", "rounds is 0", "something else",
		}
	})
	want := `a.toml:1: name: bad
a.toml:3: server.port is 7
a.toml:3: server.extra.a: bad
a.toml:8: host[1].name is two
a.toml:6: host[1].cpus: bad
a.toml: host: too few
a.toml:3: server.nothing is 0
a.toml: rounds is 0
a.toml: something else`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if f.Hosts[1].Name != "two" || f.Server.Extra["a"] != "b" {
		t.Errorf("%+v", f)
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	const text = "nmae = 1\nrounds = 3\n[server]\nprot = 1\n"
	err := Decode("a.toml", []byte(text), new(file), func() []string { return []string{"rounds is 3", "server.port is 0"} })
	want := `a.toml:1:1: unknown key "nmae"
a.toml:4:1: unknown key "server.prot"
a.toml:2: rounds is 3
a.toml:3: server.port is 0`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestWhatIsTooLong(t *testing.T) {
	for text, want := range map[string]string{
		"\nname = '" + strings.Repeat("x", maxText+1) + "'":                           "a.toml:2: name has 16385 bytes",
		"list = [" + strings.Repeat("'x',", maxListed+1) + "]":                        "a.toml:1: list has 1001 elements",
		"list = ['a', '" + strings.Repeat("x", maxText+1) + "']":                      "a.toml:1: list[1] has 16385 bytes",
		"[server]\n[server.extra]\nlong = '" + strings.Repeat("x", maxText+1) + "'\n": "a.toml:3: server.extra.long has 16385 bytes",
		"rounds = 9223372036854775808":                                                "a.toml:1:10: rounds: decimal number is too large",
		"rounds = nan":                                                                "a.toml:1:10: rounds: this is of type float, and a whole number belongs here",
		"rounds = 'three'":                                                            "a.toml:1:10: rounds: this is of type string, and a whole number belongs here",
		"[server]\nport = []":                                                         "a.toml:2:8: server.port: this is of type array, and a whole number belongs here",
		"server = 1":                                                                  "a.toml:1:10: server: this is of type integer, and something else belongs here",
		"list = 'a'":                                                                  "a.toml:1:8: list: this is of type string, and a list of texts belongs here",
		"name = \"\xff\"":                                                             "a.toml:1:9: ",
	} {
		if err := Decode("a.toml", []byte(text), new(file), func() []string { return nil }); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40s…: %v, want %s", text, err, want)
		}
	}
}

func TestLoadIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.toml")
	if err := os.WriteFile(path, make([]byte, maxBytes+1), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{path, "/dev/zero"} {
		if _, err := Load(file); err == nil || !strings.Contains(err.Error(), file+" is larger than") {
			t.Errorf("%s: %v", file, err)
		}
	}
}
