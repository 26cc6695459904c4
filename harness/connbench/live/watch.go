package live

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"connbench/harness/attach"
	"connbench/harness/connbench/flags"
	"connbench/harness/explain"
	"connbench/harness/watch"
)

// Watch is `connbench watch`.
func Watch() *cobra.Command {
	f := &flags.Flags{}
	r := attach.Request{}
	o := watch.Options{}
	c := &cobra.Command{
		Use:   "watch",
		Short: "Show connections, memory and limits of a running server",
		Long: `Look at a running server from outside until Ctrl-C, or until the server ends: how many
connections it has, its memory, the bytes per connection as connections come and go, its
CPU time and its descriptors. Nothing is connected to, and nothing is changed.`,
		Example: "  connbench watch --pid 4242\n  connbench watch --url ws://127.0.0.1:8080/ --for 1m --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			tree, err := f.Tree()
			if err != nil {
				return err
			}
			if err := oneTarget(r.Target); err != nil {
				return explain.Usage(err)
			}
			if r.URL == "" && r.Target.Empty() {
				return explain.Hint(explain.Usage(errors.New("no server is named")), "take --pid N or --url ws://HOST:PORT/")
			}
			if o.Every < 100*time.Millisecond || o.For < 0 {
				return explain.Usagef("--every is %s and --for is %s: --every must be at least 100ms, and --for must not be negative", o.Every, o.For)
			}
			o.JSON = f.JSON
			r.Lab = f.Lab
			return attach.Watch(c.Context(), tree, r, o, c.OutOrStdout())
		},
	}
	f.Add(c, "lab", "servers", "bin", "json")
	AddTarget(c, &r.Target, &r.URL)
	c.Flags().DurationVar(&o.Every, "every", 2*time.Second, "time between two lines")
	c.Flags().DurationVar(&o.For, "for", 0, "time after which the watch ends; 0 is never")
	complete(c)
	return c
}
