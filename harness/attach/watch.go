package attach

import (
	"context"
	"io"

	"connbench/harness/build"
	"connbench/harness/watch"
)

// Watch watches the server of a request, as [watch.Run] does.
func Watch(ctx context.Context, tree build.Tree, r Request, o watch.Options, out io.Writer) error {
	l, s, _, err := r.open(ctx, tree)
	if err != nil {
		return err
	}
	defer l.Close()
	if s.Host == nil {
		return errHidden(s)
	}
	o.Agent, o.Target = s.Host.Agent, s.Target
	return watch.Run(ctx, o, out)
}
