// Package labtest is a lab as small as can be, which tests add to those that there
// are: a folder and a line that imports it.
package labtest

import (
	"context"
	"runtime"

	"connbench/harness/agent"
	"connbench/harness/lab"
	"connbench/harness/record"
)

// Name is the lab's.
const Name = "toy"

func init() {
	lab.Register(lab.Kind{
		Name: Name, Form: Name + "[-SIZE]", File: "toys", About: "one host for tests", Doc: "# Lab `toy`\n\nOne host for tests.\n",
		Open: func(ctx context.Context, o lab.Options) (lab.Site, error) {
			program, err := o.Agent(ctx, runtime.GOARCH)
			return site{program}, err
		},
	})
}

type site struct{ program string }

func (site) Hosts() []lab.Spec {
	return []lab.Spec{{
		Name: Name, Roles: []string{record.RoleServer, record.RoleClient},
		Addresses: []string{"127.0.0.1"}, Sources: []string{"127.18.0.0/24"},
	}}
}

func (s site) Dial(ctx context.Context, i int) (*lab.Host, error) {
	client, err := agent.Dial(Name, []string{s.program})
	if err != nil {
		return nil, err
	}
	return lab.Meet(ctx, client, s.Hosts()[i])
}

func (site) Close() {}
