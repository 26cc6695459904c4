// Package watch looks at a running server from outside: how many connections it has, what
// each costs, and how near its limits are. It connects to nothing.
package watch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"time"

	"connbench/harness/agent"
	"connbench/harness/plain"
	"connbench/harness/stats"
	"connbench/harness/table"
)

// Sample is a server at one moment.
type Sample struct {
	Time time.Time `json:"time"`
	// Connections is how many the server has accepted and not closed, by the kernel's count.
	Connections int64 `json:"connections"`
	Processes   int   `json:"processes"`
	// RSSBytes and PSSBytes are the memory of its processes, KernelBytes that of the host's
	// kernel. They are nil where they cannot be read.
	RSSBytes    *int64 `json:"rss_bytes"`
	PSSBytes    *int64 `json:"pss_bytes"`
	KernelBytes *int64 `json:"kernel_bytes"`
	// RSSPerConnection and KernelPerConnection are slopes over all samples so far, nil while
	// too few connections have come or gone.
	RSSPerConnection    *Slope `json:"rss_per_connection"`
	KernelPerConnection *Slope `json:"kernel_per_connection"`
	// Cores is the CPU time per second since the sample before.
	Cores *float64 `json:"cores"`
	// Descriptors and MostDescriptors are those of the process with the fewest left.
	Descriptors     *int64 `json:"descriptors"`
	MostDescriptors *int64 `json:"most_descriptors"`
}

// Slope is bytes per connection, with the 95 % interval of the fit.
type Slope struct {
	Bytes float64 `json:"bytes"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// Options say what is watched, and for how long.
type Options struct {
	Agent  *agent.Client
	Target agent.Target
	// Limit says which limit of the server comes first.
	Limit string
	// Every is the time between two samples, For the time after which the watch ends; 0 is
	// until ctx ends.
	Every, For time.Duration
	// JSON has samples written as JSON, one in each line.
	JSON bool
}

// leastChange is how many connections must have come or gone before a slope is shown.
const leastChange = 50

// Run writes a line for each sample until the time is over, ctx ends, or the server does. The
// error says why nothing can be watched.
func Run(ctx context.Context, o Options, out io.Writer) error {
	found, err := o.Agent.Find(ctx, o.Target)
	if err != nil {
		return err
	}
	var w watcher
	for _, p := range found {
		w.listens = append(w.listens, p.Listens...)
		if w.pid == 0 && len(p.Listens) > 0 {
			w.pid = p.PID
		}
		if !o.JSON {
			fmt.Fprintf(out, "process %d (%s): %s\n", p.PID, plain.Line(p.Name), plain.Line(p.Command))
		}
	}
	if o.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.For)
		defer cancel()
	}
	if !o.JSON {
		fmt.Fprintf(out, "first limit: %s\n\n%s\n", plain.Line(o.Limit), w.head())
	}
	ticks := time.NewTicker(o.Every)
	defer ticks.Stop()
	for {
		s, err := w.sample(ctx, o)
		switch {
		case ctx.Err() != nil:
			return w.end(out, o, "")
		case errors.Is(err, agent.ErrHostLost):
			return err
		case err != nil:
			return w.end(out, o, "the server has ended")
		}
		if o.JSON {
			err = json.NewEncoder(out).Encode(s)
		} else {
			_, err = fmt.Fprintln(out, s.line())
		}
		if err != nil {
			return err
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return w.end(out, o, "")
		}
	}
}

// watcher is what is kept from one sample to the next.
type watcher struct {
	pid     int
	listens []netip.AddrPort
	seen    []Sample
	cpu     float64
}

// sample takes a sample.
func (w *watcher) sample(ctx context.Context, o Options) (s Sample, err error) {
	m, err := o.Agent.Observe(ctx, o.Target, true)
	if err != nil {
		return s, err
	}
	s.Time = time.Now()
	if s.Connections, err = o.Agent.Accepted(ctx, w.pid, w.listens); err != nil {
		return s, err
	}
	cpu := 0.0
	s.RSSBytes, s.PSSBytes = new(int64(0)), new(int64(0))
	for _, p := range m.Processes {
		if p.PID != 0 {
			s.Processes++
		}
		add(&s.RSSBytes, p.RSSBytes)
		add(&s.PSSBytes, p.PSSBytes)
		if p.CPUSeconds != nil {
			cpu += *p.CPUSeconds
		}
		if p.Descriptors == nil || p.MostDescriptors == nil {
			continue
		}
		if s.Descriptors == nil || *p.MostDescriptors-*p.Descriptors < *s.MostDescriptors-*s.Descriptors {
			s.Descriptors, s.MostDescriptors = p.Descriptors, p.MostDescriptors
		}
	}
	s.KernelBytes = m.System.KernelBytes()
	if n := len(w.seen); n > 0 {
		if passed := s.Time.Sub(w.seen[n-1].Time).Seconds(); passed > 0 {
			s.Cores = new((cpu - w.cpu) / passed)
		}
	}
	w.cpu = cpu
	w.seen = append(w.seen, s)
	s.RSSPerConnection = w.slope(func(s Sample) *int64 { return s.RSSBytes })
	s.KernelPerConnection = w.slope(func(s Sample) *int64 { return s.KernelBytes })
	w.seen[len(w.seen)-1] = s
	return s, nil
}

// add adds to a sum that is nil once a part is unknown.
func add(sum **int64, part *int64) {
	if *sum == nil || part == nil {
		*sum = nil
		return
	}
	*sum = new(**sum + *part)
}

// slope fits a line to all samples. There is none while the number of connections has hardly
// changed.
func (w *watcher) slope(of func(Sample) *int64) *Slope {
	var points []stats.Point
	for _, s := range w.seen {
		if y := of(s); y != nil {
			points = append(points, stats.Point{X: float64(s.Connections), Y: float64(*y)})
		}
	}
	if len(points) == 0 {
		return nil
	}
	byX := func(a, b stats.Point) int { return cmp.Compare(a.X, b.X) }
	if slices.MaxFunc(points, byX).X-slices.MinFunc(points, byX).X < leastChange {
		return nil
	}
	fit, ok := stats.Line(points)
	if !ok {
		return nil
	}
	return &Slope{Bytes: fit.Slope, Low: fit.Low, High: fit.High}
}

// layout is the columns of a line.
const layout = "%-8s  %11s  %10s  %10s  %18s  %18s  %6s  %s"

func (w *watcher) head() string {
	return fmt.Sprintf(layout, "time", "connections", "RSS", "PSS", "RSS, B/conn", "kernel, B/conn", "cores", "descriptors")
}

func (s Sample) line() string {
	cores, files := "–", "–"
	if s.Cores != nil {
		cores = fmt.Sprintf("%.2f", *s.Cores)
	}
	if s.Descriptors != nil {
		files = table.Count(int(*s.Descriptors)) + " of " + most(*s.MostDescriptors)
	}
	return fmt.Sprintf(layout, s.Time.Format(time.TimeOnly), table.Count(int(s.Connections)), bytes(s.RSSBytes), bytes(s.PSSBytes),
		s.RSSPerConnection.String(), s.KernelPerConnection.String(), cores, files)
}

func most(n int64) string {
	if n == math.MaxInt64 {
		return "unlimited"
	}
	return table.Count(int(n))
}

func bytes(n *int64) string {
	if n == nil {
		return "–"
	}
	return table.Memory(*n)
}

// String is the slope with half the width of its interval; – if there is none.
func (s *Slope) String() string {
	if s == nil {
		return "–"
	}
	return fmt.Sprintf("%s ±%s", table.Number(s.Bytes), table.Number((s.High-s.Low)/2))
}

// end writes what the watch has seen. why is why it ended, "" if its time was over.
func (w *watcher) end(out io.Writer, o Options, why string) error {
	if o.JSON {
		return nil
	}
	fmt.Fprintln(out)
	if why != "" {
		fmt.Fprintln(out, why)
	}
	if len(w.seen) == 0 {
		return nil
	}
	byConnections := func(a, b Sample) int { return cmp.Compare(a.Connections, b.Connections) }
	least, most := slices.MinFunc(w.seen, byConnections), slices.MaxFunc(w.seen, byConnections)
	last := w.seen[len(w.seen)-1]
	fmt.Fprintf(out, "connections: %s to %s\n", table.Count(int(least.Connections)), table.Count(int(most.Connections)))
	if last.RSSPerConnection == nil {
		_, err := fmt.Fprintf(out, "bytes per connection: unknown, since fewer than %d connections came or went\n", leastChange)
		return err
	}
	_, err := fmt.Fprintf(out, "bytes per connection: %s of the server, %s of the kernel\n", last.RSSPerConnection, last.KernelPerConnection)
	return err
}
