package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/reading"
	"connbench/harness/record"
)

func TestCPUsAreShared(t *testing.T) {
	for _, test := range []struct {
		cpus, server, client []int
	}{
		{[]int{3}, []int{3}, []int{3}},
		{[]int{0, 1}, []int{0}, []int{1}},
		{[]int{0, 2, 4}, []int{0, 2}, []int{4}},
	} {
		if server, client := Halves(test.cpus); !slices.Equal(server, test.server) || !slices.Equal(client, test.client) {
			t.Errorf("%v: servers on %v, clients on %v", test.cpus, server, client)
		}
	}
}

func TestClientCPUsAreCountedOnce(t *testing.T) {
	l := Lab{Clients: []Client{{CPUs: []int{2, 3}}, {CPUs: []int{1}}, {CPUs: []int{3}}}}
	if got := l.ClientCPUs(); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("CPUs %v", got)
	}
}

// A server on several hosts has the CPUs of each kernel once, and shares a kernel with clients
// if one of its hosts does.
func TestServerOnSeveralHosts(t *testing.T) {
	on := func(boot string, cpus ...int) Server {
		return Server{Host: &Host{boot: boot, network: boot + "net"}, CPUs: cpus}
	}
	l := Lab{
		Server: on("a", 0, 1), Replicas: []Server{on("a", 1, 2), on("b", 0, 1)},
		Clients: []Client{{Host: &Host{boot: "c"}}},
	}
	if got := l.ServerCPUs(); !slices.Equal(got, []int{0, 1, 2, 0, 1}) {
		t.Errorf("CPUs %v", got)
	}
	if got := l.Servers(); len(got) != 3 || got[0] != l.Server.Host || got[2].Place() != (reading.Place{Kernel: "b", Network: "bnet"}) {
		t.Errorf("servers %v", got)
	}
	if l.sharesKernel() {
		t.Error("the clients have a kernel of their own")
	}
	l.Clients = append(l.Clients, Client{Host: &Host{boot: "b"}})
	if !l.sharesKernel() {
		t.Error("the last server host is on a client's kernel")
	}
}

// stage is a site of hosts that are played.
type stage struct {
	specs []Spec
	dial  func(i int) (*Host, error)
}

func (s stage) Hosts() []Spec                                { return s.specs }
func (s stage) Dial(_ context.Context, i int) (*Host, error) { return s.dial(i) }
func (s stage) Close()                                       {}

// lost is a host whose agent has ended.
func lost(t *testing.T) *Host {
	t.Helper()
	gone, err := agent.Dial("client1", []string{"sh", "-c", "echo lightning >&2"})
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	return &Host{Agent: gone}
}

// A host that is lost and cannot be back ends a run, and is named.
func TestHostDoesNotComeBack(t *testing.T) {
	before := returnPatience
	defer func() { returnPatience = before }()
	for _, test := range []struct {
		patience time.Duration
		dialled  error
		want     string
	}{
		{0, errors.New("no route"), "host client1: its agent ended: lightning; reconnecting failed: no route"},
		// Where it cannot be back at all, nobody waits.
		{time.Hour, ErrGone, "host client1: its agent ended: lightning"},
	} {
		returnPatience = test.patience
		l := &Lab{hosts: []*Host{lost(t)}, site: stage{specs: make([]Spec, 1), dial: func(int) (*Host, error) { return nil, test.dialled }}}
		restored, err := l.Restore(t.Context())
		if restored || err == nil || err.Error() != test.want || !errors.Is(err, agent.ErrHostLost) {
			t.Errorf("restored %v, error %v", restored, err)
		}
	}
	// Whoever waits for it may give up.
	returnPatience = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	l := &Lab{hosts: []*Host{lost(t)}, site: stage{specs: make([]Spec, 1), dial: func(int) (*Host, error) { cancel(); return nil, errors.New("no route") }}}
	if _, err := l.Restore(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A host that is back has its old facts, and what was carried there is carried anew.
func TestHostComesBack(t *testing.T) {
	host, again := lost(t), &agent.Client{}
	host.Facts.Kernel = "6.1"
	l := &Lab{hosts: []*Host{host}, site: stage{specs: make([]Spec, 1), dial: func(int) (*Host, error) { return &Host{Agent: again}, nil }}}
	if restored, err := l.Restore(t.Context()); !restored || err != nil {
		t.Errorf("restored %v, error %v", restored, err)
	}
	if host.Agent != again || host.Facts.Kernel != "6.1" {
		t.Errorf("host %+v", host)
	}
	if restored, err := l.Restore(t.Context()); restored || err != nil {
		t.Errorf("all are there, and restored %v, error %v", restored, err)
	}
}

// movingSite is a site whose hosts have other addresses each time that they are dialled.
type movingSite struct {
	stage
	times *int
}

func (m movingSite) Hosts() []Spec {
	n := *m.times
	return []Spec{
		{Name: "server", Addresses: []string{fmt.Sprint("10.0.0.", n), "10.0.1.1"}},
		{Name: "client1", Sources: []string{fmt.Sprint("10.0.2.", n)}},
	}
}

func (m movingSite) Dial(ctx context.Context, i int) (*Host, error) {
	*m.times++
	return m.stage.Dial(ctx, i)
}

// A host that is back with other addresses is used by those; a plan may use a part of them.
func TestHostComesBackElsewhere(t *testing.T) {
	server, client := lost(t), &Host{Agent: &agent.Client{}}
	site := movingSite{stage{dial: func(int) (*Host, error) { return &Host{Agent: &agent.Client{}}, nil }}, new(int)}
	l := &Lab{
		hosts: []*Host{server, client}, site: site,
		Server: Server{Host: server, Addresses: []string{"10.0.0.0"}}, Clients: []Client{{Host: client, Sources: []string{"10.0.2.0"}}},
	}
	if restored, err := l.Restore(t.Context()); !restored || err != nil {
		t.Fatalf("restored %v, error %v", restored, err)
	}
	if !slices.Equal(l.Server.Addresses, []string{"10.0.0.1"}) || !slices.Equal(l.Clients[0].Sources, []string{"10.0.2.0"}) {
		t.Errorf("server %v, client %v", l.Server.Addresses, l.Clients[0].Sources)
	}
	if err := l.readdress(server, Spec{Name: "server", Addresses: []string{"10.0.0.1"}}, Spec{Name: "server"}); err == nil || !strings.Contains(err.Error(), "host server: it is back with other addresses") {
		t.Errorf("error %v", err)
	}
}

func TestCPUsOfAHost(t *testing.T) {
	both := []string{record.RoleServer, record.RoleClient}
	for _, test := range []struct {
		spec           Spec
		usable         []int
		server, client []int
		problem        string
	}{
		{Spec{Roles: both[:1]}, []int{0, 1}, []int{0, 1}, []int{0, 1}, ""},
		{Spec{Roles: both[:1], CPUs: []int{1}}, []int{0, 1}, []int{1}, []int{1}, ""},
		{Spec{Roles: both}, []int{0, 1, 2}, []int{0, 1}, []int{2}, ""},
		{Spec{Roles: both, CPUs: []int{1, 2}}, []int{0, 1, 2}, []int{1}, []int{2}, ""},
		{Spec{CPUs: []int{7}}, []int{0, 1}, nil, nil, "CPU 7 is not among those that may be used there: [0 1]"},
	} {
		server, client, err := cpus(test.spec, test.usable)
		if test.problem != "" {
			if err == nil || err.Error() != test.problem {
				t.Errorf("%+v of %v: error %v", test.spec, test.usable, err)
			}
			continue
		}
		if err != nil || !slices.Equal(server, test.server) || !slices.Equal(client, test.client) {
			t.Errorf("%+v of %v: servers on %v, clients on %v, error %v", test.spec, test.usable, server, client, err)
		}
	}
}

// Hosts that cannot be used are all named, and the others are ended.
func TestEveryHostThatCannotBeUsedIsNamed(t *testing.T) {
	before := registered
	defer func() { registered = before }()
	closed := false
	Register(Kind{Name: "play", Form: "play", Open: func(context.Context, Options) (Site, error) {
		return closing{stage{
			specs: []Spec{{Name: "server", Roles: []string{record.RoleServer}}, {Name: "client1", Roles: []string{record.RoleClient}}},
			dial:  func(i int) (*Host, error) { return nil, errors.New([]string{"no power", "no network"}[i]) },
		}, &closed}, nil
	}})
	_, err := Open(t.Context(), "play-3", Options{Engine: control.EngineSocket})
	if err == nil || !strings.Contains(err.Error(), "no power") || !strings.Contains(err.Error(), "no network") || !closed {
		t.Errorf("error %v, closed %v", err, closed)
	}
	found, err := Check(t.Context(), "play", Options{Engine: control.EngineSocket})
	if err != nil || len(found) != 2 || found[0].Reached || !slices.Equal(found[1].Problems, []string{"no network"}) {
		t.Errorf("found %+v, error %v", found, err)
	}
}

type closing struct {
	stage
	closed *bool
}

func (c closing) Close() { *c.closed = true }
