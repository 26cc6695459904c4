package connections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"connbench/clients/control"
	"connbench/harness/phase"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/session"
)

// CensusTable is a plan's [census].
type CensusTable struct {
	// By is how a connection proves that it works: "echo" (a message that comes back),
	// "ping" (a ping: one of WebSocket, or a GET and its pong, for servers that echo nothing) or "say"
	// (the question of the table say).
	By string `toml:"by" json:"by" spoils:"-"`
	// RatePerSecond is how many connections are asked per second; 0 is as fast as they answer.
	RatePerSecond float64 `toml:"rate_per_second" json:"rate_per_second,omitempty" spoils:"-"`
}

// How connections prove that they work.
const (
	ByEcho = "echo"
	ByPing = "ping"
	BySay  = "say"
)

// SayTable is a plan's [say]: a question in the server's own language.
type SayTable struct {
	// Text is sent as a text message; {n} in it is the connection's number, from 0.
	Text string `toml:"text" json:"text,omitempty" spoils:"phase"`
	// Expect is a regular expression (RE2). The first message that it matches is the
	// answer.
	Expect string `toml:"expect" json:"expect,omitempty" spoils:"phase"`
	// Seconds is how long questions are asked; 0 leaves the phase out.
	Seconds float64 `toml:"seconds" json:"seconds,omitempty" spoils:"-"`
	// RatePerSecond is how many questions are due a second, over all connections.
	RatePerSecond float64 `toml:"rate_per_second" json:"rate_per_second,omitempty" spoils:"phase"`
}

// Question returns the question as the swarm has it.
func (s SayTable) Question() *control.Say { return &control.Say{Text: s.Text, Expect: s.Expect} }

// CensusPlan is the census's table in a plan. SayPlan is that of a question which the
// census and a load may ask.
var (
	CensusPlan = plan.NewPart("census", CensusTable{}, func(c CensusTable, p plan.Plan) []string {
		var list plan.Problems
		switch c.By {
		case "", ByEcho:
		case ByPing:
			list.If(slices.Contains(p.Protocol, control.ProtocolTCP), `census.by is "ping": bytes without a protocol have no pings`)
		case BySay:
			list.If(SayPlan.Of(p).Text == "", `census.by is "say": say.text is missing`)
		default:
			list.If(true, "census.by is %q: it is %q, %q or %q", c.By, ByEcho, ByPing, BySay)
		}
		list.If(c.RatePerSecond != 0 && !plan.Positive(c.RatePerSecond), "census.rate_per_second is %g: it must be positive, or 0", c.RatePerSecond)
		return list
	})
	SayPlan = plan.NewPart("say", SayTable{}, func(s SayTable, p plan.Plan) []string {
		var list plan.Problems
		other := slices.ContainsFunc(p.Protocol, func(spoken string) bool { return spoken != control.ProtocolWebSocket })
		list.If(s.Text != "" && other, "say.text: only WebSocket has text messages, and protocol is %q", p.Protocol)
		list.Duration("say.seconds", s.Seconds)
		list.If(s.Seconds > 0 && s.Text == "", "say.text is missing: state the question")
		list.If(s.Text != "" && s.Expect == "", "say.expect is missing: a regular expression that the answer matches")
		list.If((s.Seconds > 0 || s.RatePerSecond != 0) && !plan.Positive(s.RatePerSecond), "say.rate_per_second is %g: it must be positive", s.RatePerSecond)
		if _, err := regexp.Compile(s.Expect); err != nil {
			list.If(true, "say.expect: %v", err)
		}
		return list
	})
)

// censusPayload is the size of the census's messages in bytes.
const censusPayload = 16

// censusPatience is how long every connection may take to answer the census, in seconds,
// unless the plan's timeout is longer.
const censusPatience = 30

var _ = phase.Add(phase.Phase{
	Name:    "census",
	Order:   30,
	About:   "Has every connection answer one message, and counts the connections three times: by the swarm, the server and the kernel.",
	Table:   CensusPlan,
	Planned: phase.Always,
	Run: func(ctx context.Context, t *phase.Trial) error {
		result, _, err := t.Session.Metered(ctx, "census", control.Command{
			Op: "census", PayloadBytes: censusPayload, RatePerSecond: CensusPlan.Of(t.Plan).RatePerSecond, TimeoutSeconds: max(censusPatience, RampPlan.Of(t.Plan).TimeoutSeconds),
			Options: censusOptions(t.Plan),
		}, func(r control.Result) int64 { return r.Delivered })
		if err != nil {
			return err
		}
		t.SwarmMemory(result.Usage) // plans without a load have a census
		c := &t.Record.Connections
		c.Reached = int(result.Delivered)
		c.Census = record.Census{Swarm: &result.Delivered, Server: t.Session.Meter.Last.Connections()}
		broken := (*session.ContractError)(nil)
		switch n, err := t.Session.Server.Established(ctx); {
		case err == nil:
			c.Census.Kernel = &n
		case errors.Is(err, session.ErrNoSockets):
			t.Warn("census: %v; the only witness of the swarm's count is the server's own", err)
		case errors.As(err, &broken):
			return err
		default:
			t.Warn("the kernel did not count the server's connections: %v", err)
		}
		judgeCensus(t, c.Census, result.Corrupt)
		return nil
	},
})

// censusOptions returns how the swarm is to take the census; nil is by an echo.
func censusOptions(p plan.Plan) json.RawMessage {
	switch CensusPlan.Of(p).By {
	case ByPing:
		return control.OptionsOf(control.CensusOptions{Ping: true})
	case BySay:
		return control.OptionsOf(control.CensusOptions{Say: SayPlan.Of(p).Question()})
	}
	return nil
}

// judgeCensus invalidates a trial whose three counts differ. If the server gives no count of
// its own, a difference is only noted.
func judgeCensus(t *phase.Trial, c record.Census, corrupt int64) {
	kernel := "unknown"
	if c.Kernel != nil {
		kernel = fmt.Sprint(*c.Kernel)
	}
	differs := c.Kernel != nil && *c.Kernel != *c.Swarm
	switch {
	case c.Server == nil && differs: // others may use it too
		t.Warn("census: %d connections answered the swarm, and by the kernel's count the server has %s more than before", *c.Swarm, kernel)
	case c.Server != nil && (differs || *c.Server != *c.Swarm):
		t.Invalidate("census: %d connections answered the swarm, the server counts %d, the kernel %s", *c.Swarm, *c.Server, kernel)
	}
	if corrupt > 0 {
		t.Invalidate("census: %d answers were not what had been sent", corrupt)
	}
}
