package attach

import (
	"fmt"
	"strings"

	"connbench/harness/explain"
	"connbench/harness/phase/connections"
	"connbench/harness/phase/loads"
	"connbench/harness/plan"
)

// Load says what a run does with the connections that it has opened.
type Load struct {
	// Connections is how many are opened, and ConnectsPerSecond how fast. Steps is the number
	// of points at which the ramp pauses to measure.
	Connections       plan.Count
	ConnectsPerSecond float64
	Steps             int
	// HoldSeconds is how long they stay idle, and LoadSeconds how long each load lasts.
	HoldSeconds, LoadSeconds float64
	// MostPerSecond bounds the connects and the messages of each second.
	MostPerSecond float64
	// Echo is true if the server echoes messages, of PayloadBytes each.
	Echo         bool
	PayloadBytes int
	// Say is a question in the server's own language, and Expect a regular expression that
	// its answer matches; "" if there is none.
	Say, Expect string
	// ListenSeconds is how long the swarm counts what the server pushes.
	ListenSeconds float64
}

// Defaults are the values of what nobody has asked for otherwise.
func Defaults() Load {
	return Load{
		Connections: 1000, ConnectsPerSecond: 500, Steps: 8, HoldSeconds: 3, LoadSeconds: 5,
		MostPerSecond: 1000, PayloadBytes: 64,
	}
}

// patience is how many connects may fail in a row: a server of somebody else's is left alone
// soon. Ten times as many in all end the ramp too.
const patience = 10

// plans returns the plan for the attached server, which is called name, and the one for our
// own servers next to it: these echo, and push nothing.
func (l Load) plans(name, title string) (attached, beside plan.Plan, err error) {
	p := plan.Default()
	p.Name, p.Title = "attach", title
	p.About = "A server that somebody else has started, and the floor next to it."
	p.Variants = []string{name, floor}
	p.Connections = l.Connections
	p.KeepNoisy = true // a second trial would find the server's memory grown already
	connections.RampPlan.Set(&p, connections.RampTable{
		Steps: l.Steps, Window: 256, RatePerSecond: min(l.ConnectsPerSecond, l.MostPerSecond),
		TimeoutSeconds: 10, Patience: patience, PauseSeconds: 0.3,
	})
	connections.HoldPlan.Set(&p, connections.HoldTable{Seconds: l.HoldSeconds})
	// Each connection has about one message.
	rate := min(float64(l.Connections)/max(l.LoadSeconds, 1), l.MostPerSecond)
	if l.LoadSeconds > 0 {
		loads.PingPlan.Set(&p, loads.PingTable{Seconds: l.LoadSeconds, IntervalSeconds: float64(l.Connections) / rate, PayloadBytes: 16})
	}
	beside = p
	echo := loads.EchoTable{Load: loads.Load{Seconds: l.LoadSeconds, PayloadBytes: l.PayloadBytes}, RatePerSecond: rate}
	census := connections.CensusTable{By: connections.ByPing, RatePerSecond: l.MostPerSecond}
	switch {
	case l.Echo:
		census.By = connections.ByEcho
		loads.EchoPlan.Set(&p, echo)
		loads.EchoPlan.Set(&beside, echo)
	case l.Say != "":
		census.By = connections.BySay
		connections.SayPlan.Set(&p, connections.SayTable{Text: l.Say, Expect: l.Expect, Seconds: l.LoadSeconds, RatePerSecond: rate})
		echo.PayloadBytes = len(l.Say)
		loads.EchoPlan.Set(&beside, echo)
	}
	connections.CensusPlan.Set(&p, census)
	loads.ListenPlan.Set(&p, loads.ListenTable{Seconds: l.ListenSeconds})
	if problems := p.Problems(); len(problems) > 0 {
		return p, beside, explain.Usagef("%s", strings.Join(problems, "\n"))
	}
	return p, beside, nil
}

// check returns what is wrong with the load, in the words of the command line.
func (l Load) check() error {
	switch {
	case l.Connections == plan.Max:
		return explain.Hint(explain.Usagef("attach does not accept --connections max"), "name a number")
	case l.Echo && l.Say != "":
		return explain.Usagef("--echo and --say cannot be combined")
	case l.Say == "" && l.Expect != "":
		return explain.Hint(explain.Usagef("--expect needs --say"), "add --say TEXT")
	case l.Say != "" && l.Expect == "":
		return explain.Hint(explain.Usagef("--say needs --expect"), "add --expect REGEX; --expect . accepts any answer")
	}
	for _, bound := range []struct {
		flag  string
		value float64
	}{{"--rate", l.ConnectsPerSecond}, {"--max-rate", l.MostPerSecond}} {
		if !plan.Positive(bound.value) {
			return explain.Usagef("%s is %g: it must be positive", bound.flag, bound.value)
		}
	}
	return nil
}

// floor is the variant that is measured next to the attached server.
const floor = "floor"

// title is what a run against a URL is called.
func title(url string) string { return fmt.Sprintf("Attached to %s", url) }
