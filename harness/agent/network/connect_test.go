package network

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestSomeOfAPrefix(t *testing.T) {
	for _, test := range []struct {
		text        string
		count       int
		first, last string
	}{
		{"198.19.1.7", 1, "198.19.1.7", "198.19.1.7"},
		{"198.19.1.0/24", triedOfEach, "198.19.1.1", "198.19.1.254"},
		{"198.19.1.4/30", 2, "198.19.1.5", "198.19.1.6"},
		{"198.19.1.4/31", 2, "198.19.1.4", "198.19.1.5"},
		{"198.19.1.4/32", 1, "198.19.1.4", "198.19.1.4"},
		{"fd00::/120", triedOfEach, "fd00::", "fd00::ff"},
		{"fd00::/64", triedOfEach, "fd00::", "fd00::ffff"},
	} {
		got, err := some(test.text)
		if err != nil || len(got) != test.count || got[0].String() != test.first || got[len(got)-1].String() != test.last {
			t.Errorf("%s: %v, error %v", test.text, got, err)
		}
	}
	if _, err := some("server"); err == nil {
		t.Error("a name is taken for an address")
	}
}

func TestNoTUN(t *testing.T) {
	err := checkTUN(filepath.Join(t.TempDir(), "tun"))
	for _, want := range []string{"engine packet needs TUN devices", "modprobe tun", "ENGINE=socket needs none"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}
