package suite

import (
	"fmt"
	"strings"
	"testing"

	"connbench/harness/lab"
	"connbench/harness/plan"
)

func TestConfine(t *testing.T) {
	for name, test := range map[string]struct {
		set     func(*plan.Plan)
		sources []string // of the lab's client
		want    string   // addresses of the server, its CPUs, the client's sources
		problem string
	}{
		"as it is":        {func(*plan.Plan) {}, []string{"10.0.1.0/24"}, "a [2 3] 10.0.1.0/24", ""},
		"less":            {func(p *plan.Plan) { p.Server.Addresses, p.Server.CPUs, p.Client.Sources = 2, 1, 2 }, []string{"10.0.1.0/24"}, "a b [2] 10.0.1.1 10.0.1.2", ""},
		"over a border":   {func(p *plan.Plan) { p.Client.Sources = 3 }, []string{"10.0.1.0/30", "10.0.2.7"}, "a [2 3] 10.0.1.1 10.0.1.2 10.0.2.7", ""},
		"IPv6":            {func(p *plan.Plan) { p.Client.Sources = 2 }, []string{"2001:db8::/120"}, "a [2 3] 2001:db8:: 2001:db8::1", ""},
		"all of a /31":    {func(p *plan.Plan) { p.Client.Sources = 2 }, []string{"10.0.1.4/31"}, "a [2 3] 10.0.1.4 10.0.1.5", ""},
		"no address":      {func(p *plan.Plan) { p.Client.Sources = 1 }, []string{"client"}, "", `"client" is neither an address`},
		"too many":        {func(p *plan.Plan) { p.Client.Sources = 3 }, []string{"10.0.1.0/30"}, "", "client.sources is 3: it has 2"},
		"no such address": {func(p *plan.Plan) { p.Server.Addresses = 3 }, nil, "", "server.addresses is 3, and the server host of lab moon has 2"},
		"no such CPU":     {func(p *plan.Plan) { p.Server.CPUs = 3 }, nil, "", "server.cpus is 3, and the servers have 2"},
	} {
		l := &lab.Lab{
			Name:    "moon",
			Server:  lab.Server{Addresses: []string{"a"}, Spare: []string{"b"}, CPUs: []int{2, 3}},
			Clients: []lab.Client{{Host: &lab.Host{}, Sources: test.sources}},
		}
		p := plan.Default()
		test.set(&p)
		err := Confine(p, l)
		if test.problem != "" {
			if err == nil || !strings.Contains(err.Error(), test.problem) {
				t.Errorf("%s: error %v, want %q", name, err, test.problem)
			}
			continue
		}
		got := fmt.Sprint(strings.Join(l.Server.Addresses, " "), " ", l.Server.CPUs, " ", strings.Join(l.Clients[0].Sources, " "))
		if err != nil || got != test.want {
			t.Errorf("%s: %s, error %v; want %s", name, got, err, test.want)
		}
	}
}
