package attach

import (
	"context"
	"io"

	"connbench/harness/build"
	"connbench/harness/plan"
	"connbench/harness/watch"
)

// Watch watches the server of a request, as [watch.Run] does.
func Watch(ctx context.Context, tree build.Tree, r Request, o watch.Options, out io.Writer) error {
	l, s, err := r.open(ctx, tree)
	if err != nil {
		return err
	}
	defer l.Close()
	prediction, err := predict(ctx, plan.Default(), plan.Max, l, s)
	if err != nil {
		return err
	}
	o.Agent, o.Target, o.Limit = s.Parts[0].Host.Agent, s.Parts[0].Target, firstLimit(prediction)
	return watch.Run(ctx, o, out)
}
