package network

import (
	"testing"

	"go4.org/netipx"

	"connbench/clients/addresses"
)

// Every address that connections use must be the host's, whether it has them one by one
// or as a prefix.
func TestHolds(t *testing.T) {
	for _, test := range []struct {
		own  []string
		set  string
		want bool
	}{
		{[]string{"10.0.0.0/8"}, "10.1.0.0/16", true},
		{[]string{"10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"}, "10.0.0.0/29", true}, // but network and broadcast
		{[]string{"10.0.0.1/32", "10.0.0.2/31", "10.0.0.5/32", "10.0.0.6/32"}, "10.0.0.0/29", false},
		{[]string{"10.0.0.0/25"}, "10.0.0.0/24", false},
		{[]string{"10.0.0.1/32"}, "10.0.0.1", true},
		{[]string{"10.0.0.1/32"}, "fd00::1", false},
		{[]string{"fd00::/121"}, "fd00::/120", false},
		{[]string{"fd00::/120"}, "fd00::/120", true},
	} {
		var own netipx.IPSetBuilder
		for _, text := range test.own {
			prefix, err := addresses.ParsePrefix(text)
			if err != nil {
				t.Fatal(err)
			}
			own.AddPrefix(prefix)
		}
		all, err := own.IPSet()
		if err != nil {
			t.Fatal(err)
		}
		set, err := addresses.Parse(test.set)
		if err != nil {
			t.Fatal(err)
		}
		if got := holds(all, set); got != test.want {
			t.Errorf("%v holds %s: %v", test.own, test.set, got)
		}
	}
	// A sandbox that tells of no route lets sockets have what is the host's.
	none, here, elsewhere := &netipx.IPSet{}, must(t, "127.0.0.1"), must(t, "192.0.2.1")
	if !holds(none, here) || holds(none, elsewhere) {
		t.Error("without routes, sockets do not tell what is the host's")
	}
}

func must(t *testing.T, list ...string) addresses.Set {
	t.Helper()
	set, err := addresses.Parse(list...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}
