// Package live has the commands for servers that are running already: attach and watch.
package live

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"connbench/harness/agent"
	"connbench/harness/connbench/flags"
)

// AddTarget adds the flags that say which processes a running server has, and where it is.
func AddTarget(c *cobra.Command, t *agent.Target, url *string) {
	set := c.Flags()
	if url != nil {
		set.StringVar(url, "url", "", "a server that runs already, as attach takes it: ws://HOST:PORT/")
	}
	set.IntSliceVar(&t.PIDs, "pid", nil, "the server's process, with all that it has started; may be repeated")
	set.StringVar(&t.Name, "process", "", "the name of the server's processes")
	set.StringVar(&t.Group, "cgroup", "", "the folder of the server's control group")
	set.StringVar(&t.Container, "container", "", "the name of the server's container, or the beginning of its id")
	complete(c)
}

// complete has the shell complete those flags of c that nothing else completes: with files where
// a file is meant, and else with nothing.
func complete(c *cobra.Command, files ...string) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if _, done := c.GetFlagCompletionFunc(f.Name); done {
			return
		}
		with := cobra.NoFileCompletions
		if slices.Contains(files, f.Name) {
			with = flags.OneOf(nil)
		}
		flags.MustComplete(c, f.Name, with)
	})
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
