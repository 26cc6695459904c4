package slurm

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connbench/harness/lab/paper"
)

func read(t *testing.T, text string) (File, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cluster.toml")
	if err := os.WriteFile(file, []byte("kind = \"slurm\"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Read(file)
}

// One component for all nodes; two where the server or the clients ask for other ones.
func TestJobIsAskedFor(t *testing.T) {
	for text, want := range map[string]string{
		``:                                     "salloc --job-name=x --no-kill --exclusive --nodes=2",
		"clients = 5\nsalloc = [\"--time=9\"]": "salloc --job-name=x --no-kill --exclusive --nodes=6 --time=9",
		"clients = 5\nsalloc = [\"--time=9\"]\n[server]\nconstraint = \"big\"\n[client]\nsalloc = [\"--partition=p\"]": "salloc --job-name=x --no-kill --exclusive --nodes=5 --time=9 --partition=p : " +
			"--job-name=x --no-kill --exclusive --nodes=1 --time=9 --constraint=big",
	} {
		f, err := read(t, text)
		if got := strings.Join(f.salloc("x"), " "); err != nil || got != want {
			t.Errorf("%s: %s, want %s, error %v", text, got, want, err)
		}
	}
}

func TestOnPaper(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cluster.toml")
	if err := os.WriteFile(file, []byte("kind = \"slurm\"\nclients = 25\n[server]\ncpus = [0, 1]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := onPaper(file)
	if want := (paper.Lab{Clients: 25, Sources: 25, Targets: 1, Server: paper.Resources{Cores: 2}}); err != nil || got != want {
		t.Errorf("%+v, error %v", got, err)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		`clients = -1`:                   "cluster.toml:2: clients is -1: it takes 1 to 1000",
		`wait_seconds = 0`:               "cluster.toml:2: wait_seconds is 0",
		`scratch = "tmp"`:                `cluster.toml:2: scratch is "tmp": it is a folder on each node`,
		`salloc = ["30"]`:                `cluster.toml:2: salloc has "30": each is an option of salloc`,
		"[client]\nsalloc = [\":\"]":     `cluster.toml:3: client.salloc has ":"`,
		"[server]\naddresses = [\"n1\"]": `cluster.toml:3: server.addresses: "n1" is neither an address nor a prefix`,
		"[server]\ncpus = [-1]":          "cluster.toml:3: server.cpus has -1",
		"[server]\nfeature = \"big\"":    `cluster.toml:3:1: unknown key "server.feature"`,
	} {
		if _, err := read(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", text, err, want)
		}
	}
}

func TestAddressesAreChosen(t *testing.T) {
	var own []netip.Prefix
	for _, text := range []string{"127.0.0.0/8", "10.0.0.7/32", "198.19.1.0/24", "198.19.2.9/32", "fd00::7/128"} {
		own = append(own, netip.MustParsePrefix(text))
	}
	for _, test := range []struct{ prefixes, want []string }{
		{nil, []string{"10.0.0.7"}},
		{[]string{"198.19.0.0/16"}, []string{"198.19.1.0/24", "198.19.2.9"}},
		{[]string{"198.19.1.0/25", "10.0.0.7"}, []string{"10.0.0.7"}}, // a part of a prefix may be somebody else's
		{[]string{"fd00::/64"}, []string{"fd00::7"}},
		{[]string{"192.0.2.0/24"}, nil},
	} {
		if got := choose(own, test.prefixes, netip.MustParseAddr("10.0.0.7")); !slices.Equal(got, test.want) {
			t.Errorf("%v: %v, want %v", test.prefixes, got, test.want)
		}
	}
}

// Where a node's name means loopback addresses, others are taken, or nothing.
func TestLoopbackIsNoWayToANode(t *testing.T) {
	for _, test := range []struct {
		list       []string
		want, said string
	}{
		{[]string{"127.0.1.1", "10.0.0.7"}, "10.0.0.7", ""},
		{[]string{"fd00::7", "10.0.0.7"}, "fd00::7", ""},
		{[]string{"::ffff:127.0.1.1", "::1"}, "", "its name means 127.0.1.1 here"},
	} {
		var list []netip.Addr
		for _, text := range test.list {
			list = append(list, netip.MustParseAddr(text))
		}
		got, err := reachable(list)
		if err == nil && got.String() != test.want || err != nil && (test.said == "" || !strings.HasPrefix(err.Error(), test.said)) {
			t.Errorf("%v: %v, error %v", test.list, got, err)
		}
	}
}

// Slurm is asked for the addresses of those nodes for which the file states none.
func TestNodesWithoutStatedAddresses(t *testing.T) {
	s := site{nodes: []node{{0, "n3"}, {0, "n1"}, {0, "n2"}}}
	if got := s.unaddressed(); !slices.Equal(got, []string{"n3", "n1", "n2"}) {
		t.Errorf("%v", got)
	}
	s.file.Client.Addresses = []string{"198.18.0.0/16"}
	if got := s.unaddressed(); !slices.Equal(got, []string{"n3"}) {
		t.Errorf("%v", got)
	}
	s.file.Server.Addresses = s.file.Client.Addresses
	if found, err := known(t.Context(), s.unaddressed()); len(found) > 0 || err != nil {
		t.Errorf("asked for %v, error %v", found, err)
	}
}

// Of what Slurm says, the error counts.
func TestWordsOfSlurm(t *testing.T) {
	for said, want := range map[string]string{
		"salloc: error: Job submit/allocate failed: Invalid account\nsalloc: Job allocation 3 has been revoked.": "Job submit/allocate failed: Invalid account",
		"salloc: Job allocation 3 has been revoked.":                                                             "Job allocation 3 has been revoked.",
		"srun: error: n2: task 0: Killed":                                                                        "n2: task 0: Killed",
		"":                                                                                                       "",
	} {
		if got := plainly(said); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}
