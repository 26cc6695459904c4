package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"connbench/harness/build"
	"connbench/harness/plan"
)

func TestFolderName(t *testing.T) {
	now := time.Date(2026, 3, 1, 2, 3, 4, 0, time.UTC)
	for _, test := range [][3]string{
		{"local", "full", "20260301-020304-local-full"},
		{"netns-2-ipv6", "check(1)", "20260301-020304-netns_2_ipv6-check_1_"},
		{"prüfung", "_mine", "20260301-020304-pr_fung-_mine"},
		{strings.Repeat("x", 200), strings.Repeat("y", 200), "20260301-020304-" + strings.Repeat("x", 100) + "-" + strings.Repeat("y", 100)},
	} {
		if got := FolderName(now, test[0], test[1]); got != test[2] {
			t.Errorf("%v: %s", test, got)
		}
	}
}

// The command that repeats a run asks for what the request did.
func TestCommand(t *testing.T) {
	everything := Request{
		Plan: "my plan.toml", Lab: "netns-2", Engine: "packet", Variants: []string{"c#-x", "gnet/default"},
		Connections: new(plan.Count(5000)), BudgetBytes: new(int64(1 << 30)), Rounds: new(3), Processes: new(0),
	}
	for want, r := range map[string]Request{
		"make bench PLAN=quick LAB=local": {Plan: "quick"},
		"make bench 'PLAN=my plan.toml' LAB=netns-2 ENGINE=packet 'VARIANTS=c#-x,gnet/default' CONNECTIONS=5000 BUDGET=1GiB ROUNDS=3 PROCESSES=0": everything,
		"make bench PLAN=quick LAB=local CONNECTIONS=max BUDGET=1000001":                                                                          {Plan: "quick", Connections: new(plan.Max), BudgetBytes: new(int64(1_000_001))},
	} {
		p := plan.Default()
		p.Name, p.Variants, p.Connections = "x", []string{"floor"}, 1
		p, err := r.apply(p)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Command(p); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// What a request leaves out stays as the plan has it; what it says is checked.
func TestApply(t *testing.T) {
	p := plan.Default()
	p.Name, p.Variants, p.Connections, p.Rounds, p.Server.Processes, p.Lab = "x", []string{"floor"}, 7, 5, 3, "netns"
	same, err := Request{}.apply(p)
	if err != nil || same.Rounds != 5 || same.Server.Processes != 3 || same.Lab != "netns" || same.Connections != 7 {
		t.Errorf("%+v, %v", same, err)
	}
	if p, err := (Request{Processes: new(0)}).apply(p); err != nil || p.Server.Processes != 0 {
		t.Errorf("%d processes, %v", p.Server.Processes, err)
	}
	_, err = Request{Rounds: new(0), Engine: "dpdk"}.apply(p)
	if err == nil || !strings.Contains(err.Error(), "rounds is 0") || !strings.Contains(err.Error(), "client.engine is \"dpdk\"") {
		t.Errorf("%v", err)
	}
}

func TestGrouped(t *testing.T) {
	for text, want := range map[string]string{
		"(24620519424 − 1073741824 in reserve) ÷ 8484 bytes": "(24,620,519,424 − 1,073,741,824 in reserve) ÷ 8484 bytes",
		"198.18.0.1, 2001:db8::1000 and port 65535":          "198.18.0.1, 2001:db8::1000 and port 65,535",
		"10,000 − 11 in use by process 16927":                "10,000 − 11 in use by process 16927",
		"":                                                   "",
	} {
		if got := grouped(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// The size of a plan is without the trials of variants that a run leaves out.
func TestSizeOfAPlan(t *testing.T) {
	p := plan.Default()
	p.Name, p.Variants, p.Classes, p.Connections, p.Rounds = "x", []string{"gobwas", "python-websockets"}, []string{"default"}, 100, 3
	for _, test := range []struct {
		compression []string
		want        string
	}{{nil, "6 trials in"}, {[]string{"deflate"}, "3 trials in"}, {[]string{"none", "deflate"}, "6 trials in"}} {
		p.Compression = test.compression
		var out bytes.Buffer
		if err := WritePlan(&out, build.Tree{Servers: "../../servers"}, p, 200); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), test.want) {
			t.Errorf("%q: %s", test.compression, out.String())
		}
	}
}
