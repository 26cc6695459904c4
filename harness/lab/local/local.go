// Package local is the lab that is this machine alone.
package local

import (
	"context"
	_ "embed"
	"runtime"

	"connbench/harness/agent"
	"connbench/harness/lab"
	"connbench/harness/record"
)

//go:embed README.md
var doc string

func init() {
	lab.Register(lab.Kind{Name: lab.Local, Form: lab.Local, About: "this machine and its loopback; no set-up, no root", Doc: doc, Open: open})
}

// sources are the clients' addresses. All of 127.0.0.0/8 is the host's without any
// set-up, and no other program is likely to use these.
const sources = "127.17.0.0/24"

type site struct {
	program string // the agent's
}

func open(ctx context.Context, o lab.Options) (lab.Site, error) {
	if o.Name != lab.Local {
		return nil, lab.Unknown(o.Name)
	}
	if err := o.NeedsSocket("use LAB=netns, or ENGINE=socket"); err != nil {
		return nil, err
	}
	program, err := o.Agent(ctx, runtime.GOARCH)
	return site{program}, err
}

// Hosts implements [lab.Site].
func (site) Hosts() []lab.Spec {
	return []lab.Spec{{
		Name: lab.Local, Roles: []string{record.RoleServer, record.RoleClient},
		Addresses: []string{"127.0.0.1"}, Spare: []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"},
		Sources: []string{sources},
	}}
}

// Dial implements [lab.Site].
func (s site) Dial(ctx context.Context, i int) (*lab.Host, error) {
	client, err := agent.Dial(lab.Local, []string{s.program})
	if err != nil {
		return nil, err
	}
	host, err := lab.Meet(ctx, client, s.Hosts()[i])
	if err != nil {
		client.Close()
		return nil, err
	}
	return host, nil
}

// Close implements [lab.Site].
func (site) Close() {}
