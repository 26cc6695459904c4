package sessiontest

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/servers/contract"
)

// server is a scripted [session.Server].
type server struct{ *world }

func (s server) Addresses() []string { return []string{"127.0.0.1:9000"} }

func (s server) Ask(ctx context.Context, question string) (contract.Stats, error) {
	s.lock.Lock()
	ended, stats := s.ended != nil, s.stats(question)
	s.lock.Unlock()
	if ended {
		return contract.Stats{}, errServerEnded
	}
	if s.OnAsk != nil {
		if err := s.OnAsk(question, &stats); err != nil {
			return stats, err
		}
	}
	return stats, ctx.Err()
}

func (s server) Measure(ctx context.Context, detail bool) (agent.Measurement, error) {
	s.lock.Lock()
	ended, m := s.ended != nil, s.measure(detail)
	s.lock.Unlock()
	if ended {
		return m, errServerEnded
	}
	if s.OnMeasure != nil {
		if err := s.OnMeasure(detail, &m); err != nil {
			return m, err
		}
	}
	return m, ctx.Err()
}

func (s server) Established(ctx context.Context) (int64, error) {
	s.lock.Lock()
	n := int64(s.open)
	s.lock.Unlock()
	if s.OnCount != nil {
		if err := s.OnCount(&n); err != nil {
			return n, err
		}
	}
	return n, ctx.Err()
}

func (s server) Ended() error {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.ended == nil {
		return nil
	}
	return fmt.Errorf("server process 1 of %d ended: %w", s.Processes, s.ended)
}

func (s server) AwaitEnd() {}

func (s server) LastWords(context.Context) string {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.words
}

func (s server) Stderr(ctx context.Context) string { return s.LastWords(ctx) }

// Restart begins the process's figures anew.
func (s server) Restart(ctx context.Context) error {
	select {
	case <-time.After(time.Duration(s.Costs.DownSeconds * float64(time.Second))):
	case <-ctx.Done():
		return ctx.Err()
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.begun, s.serverCPU, s.dropped, s.messages, s.collections = time.Now(), 0, 0, 0, 0
	return s.OnRestart
}

func (s server) Stop(context.Context) error { return s.OnStop }

// swarm is a scripted [session.Swarm].
type swarm struct {
	*world
	progress  func(int, int64)
	interrupt chan struct{} // of the running command, nil while there is none
}

func (s *swarm) OnProgress(f func(open int, messages int64)) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.progress = f
}

func (s *swarm) Interrupt(context.Context) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.interrupt != nil {
		close(s.interrupt)
		s.interrupt = nil
	}
}

func (s *swarm) Usage(ctx context.Context) (agent.Tree, error) {
	s.lock.Lock()
	u := agent.Tree{RSSBytes: 16<<20 + 48*int64(s.open), CPUSeconds: s.swarmCPU}
	s.lock.Unlock()
	if s.OnUsage != nil {
		if err := s.OnUsage(&u); err != nil {
			return u, err
		}
	}
	return u, ctx.Err()
}

func (s *swarm) Stop(context.Context) error { return nil }

// Do waits for as long as the command takes, or until it is interrupted, and then
// returns what was done until then.
func (s *swarm) Do(ctx context.Context, c control.Command) (control.Result, error) {
	s.lock.Lock()
	s.did = append(s.did, c)
	full := s.seconds(c)
	interrupt := make(chan struct{})
	s.interrupt = interrupt
	s.lock.Unlock()

	begun, stopped := time.Now(), false
	select {
	case <-time.After(time.Duration(full * float64(time.Second))):
	case <-interrupt:
		stopped = true
	case <-ctx.Done():
		return control.Result{}, ctx.Err()
	}

	s.lock.Lock()
	s.interrupt = nil
	r := s.result(c, time.Since(begun).Seconds())
	if stopped && c.Op == "ramp" {
		r.StoppedBy = control.StoppedByStop
	}
	progress := s.progress
	s.lock.Unlock()
	progress(r.Open, r.Delivered)
	if s.OnDo != nil {
		if err := s.OnDo(c, &r); err != nil {
			return control.Result{}, err
		}
	}
	return r, nil
}

// seconds is how long a command takes.
func (s *swarm) seconds(c control.Command) float64 {
	switch c.Op {
	case "ramp":
		return float64(max(0, c.Connections-s.open)) / s.Costs.ConnectsPerSecond
	case "close":
		return float64(s.open-c.Connections) / s.Costs.ConnectsPerSecond
	case "census":
		return float64(s.open) / s.Costs.EchoesPerSecond
	case "storm":
		return float64(s.open) / s.Costs.ConnectsPerSecond
	case "restart":
		return s.Costs.DownSeconds + float64(s.open)/s.Costs.ConnectsPerSecond
	}
	return c.Seconds
}

// result is what a command did in so many seconds, and the world after it.
func (s *swarm) result(c control.Command, seconds float64) control.Result {
	r := control.Result{Processes: 1, Seconds: seconds, Lost: s.lost}
	s.lost = 0
	before := s.swarmCPU
	switch c.Op {
	case "ramp":
		r.Opened = min(max(0, c.Connections-s.open), int(seconds*s.Costs.ConnectsPerSecond+0.5))
		s.opened(r.Opened)
		r.Latency = s.latency(int64(r.Opened))
	case "close":
		r.Closed = s.open - c.Connections
		s.closed(r.Closed)
	case "storm", "churn", "restart":
		r.Opened = s.open
		if c.Op == "churn" {
			r.Opened = int(c.RatePerSecond*seconds + 0.5)
		}
		r.Closed, r.Latency = r.Opened, s.latency(int64(r.Opened))
		s.cameBack(r.Opened)
	case "census":
		r.Offered = int64(s.open)
	case "stayers":
		r.Offered = int64(c.RatePerSecond*seconds + 0.5)
		if strings.Contains(string(c.Options), `"drop":true`) {
			r.Opened, r.Closed = c.Connections, c.Connections
			r.Counts = map[string]int64{control.CountDropped: int64(c.Connections), control.CountBack: int64(c.Connections)}
			s.cameBack(c.Connections)
		}
	case "broadcast":
		for range int(c.RatePerSecond*seconds + 0.5) {
			r.Spread = append(r.Spread, control.Spread{Received: int64(s.open), Nanoseconds: int64(s.Costs.LatencyUS*1e3) * 2})
		}
		r.Offered = int64(len(r.Spread) * s.open)
	case "echo", "ping", "mix", "slow":
		r.Offered = int64(c.RatePerSecond*seconds + 0.5)
		s.active = min(cmp.Or(c.Connections, s.open), s.open)
	case "saturate":
		r.Offered = int64(s.Costs.EchoesPerSecond*seconds + 0.5)
	}
	if r.Offered > 0 {
		r.Sent, r.Delivered, r.Latency = r.Offered, r.Offered, s.latency(r.Offered)
		s.delivered(r.Delivered)
	}
	if c.Op == "broadcast" {
		r.Sent = int64(len(r.Spread))
	}
	if c.Op == "storm" || c.Op == "churn" || c.Op == "restart" {
		r.Offered, r.Delivered = int64(r.Opened), int64(r.Opened)
	}
	r.Open = s.open
	r.Usage = control.Usage{
		UserSeconds: (s.swarmCPU - before) / 2, SystemSeconds: (s.swarmCPU - before) / 2,
		RSSBytes: 16<<20 + 48*int64(s.open), PSSBytes: 15<<20 + 48*int64(s.open),
		StateBytesPerConnection: 48, Busy: 0.1, LagP99Seconds: 1e-5, LagMaxSeconds: 1e-4,
	}
	return r
}

// latency is a histogram of n equal times; "" of none.
func (s *swarm) latency(n int64) string { return Latency(n, s.Costs.LatencyUS) }

// Latency is a histogram, as the swarm reports it, of n events that took us
// microseconds each; "" of none.
func Latency(n int64, us float64) string {
	if n == 0 {
		return ""
	}
	h := hdrhistogram.New(1, int64(10*time.Minute), 3)
	if err := h.RecordValues(int64(us*1e3), n); err != nil {
		panic(err) // longer than ten minutes
	}
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		panic(err) // it encodes whatever it holds
	}
	return string(text)
}
