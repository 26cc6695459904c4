// Package live has the commands for servers that are running already: attach and watch.
package live

import (
	"errors"

	"github.com/spf13/pflag"

	"connbench/harness/agent"
)

// AddTarget adds the flags that say which processes a server has.
func AddTarget(set *pflag.FlagSet, t *agent.Target) {
	set.IntSliceVar(&t.PIDs, "pid", nil, "the server's process, with all that it has started; may be repeated")
	set.StringVar(&t.Name, "process", "", "the name of the server's processes")
	set.StringVar(&t.Group, "cgroup", "", "the folder of the server's control group")
	set.StringVar(&t.Container, "container", "", "the name of the server's container, or the beginning of its id")
}

// oneTarget returns an error if several flags say which processes are meant.
func oneTarget(t agent.Target) error {
	given := 0
	for _, is := range []bool{len(t.PIDs) > 0, t.Name != "", t.Group != "", t.Container != ""} {
		if is {
			given++
		}
	}
	if given > 1 {
		return errors.New("--pid, --process, --cgroup and --container: take one of them")
	}
	return nil
}
