package trial_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"connbench/clients/control"
	"connbench/harness/cause"
	"connbench/harness/phase"
	"connbench/harness/phase/connections"
	"connbench/harness/plan"
	"connbench/harness/progress"
	"connbench/harness/record"
	"connbench/harness/session"
	"connbench/harness/session/sessiontest"
	"connbench/harness/trial"
	"connbench/servers/contract"
)

// measure runs a trial of a script, with a hold of two seconds. It also returns what
// is kept of the server's standard error.
func measure(t *testing.T, s *sessiontest.Script) (result record.Trial, stderr string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := plan.Default()
		connections.HoldPlan.Set(&p, connections.HoldTable{Seconds: 2})
		result = trial.Run(t.Context(), trial.Input{
			Plan: p, Target: 1000, Hosts: s, Open: s.Open, Progress: progress.Discard{}, Sample: func(record.Sample) {},
			Topology: phase.Topology{ServerProcesses: 1, ServerCPUs: 2, MostPerProcess: 600},
			Stderr:   func(text string) { stderr = text },
		})
	})
	return result, stderr
}

// onRamp changes what the swarm says of the step in which a number is reached.
func onRamp(s *sessiontest.Script, open int, change func(r *control.Result) error) {
	s.OnDo = func(c control.Command, r *control.Result) error {
		if c.Op == "ramp" && r.Open >= open {
			return change(r)
		}
		return nil
	}
}

// What a server, a swarm or a host does in a ramp ends it for the cause that this is,
// and says so where the trial could not go on.
func TestWhatEndsARamp(t *testing.T) {
	for name, test := range map[string]struct {
		script func(s *sessiontest.Script)
		want   *cause.Cause
		valid  bool
		says   string // in evidence, and in what makes the trial invalid
	}{
		"its library": {
			func(s *sessiontest.Script) {
				onRamp(s, 600, func(r *control.Result) error {
					r.Open, r.StoppedBy = 600, control.StoppedByServer
					r.Failures = []control.Failure{{Phase: control.PhaseHandshake, Error: control.Closed, Count: 100}}
					s.Lose(25)
					return nil
				})
			},
			cause.LibraryCap, true, "its library allows 600",
		},
		"a queue that is full": {
			func(s *sessiontest.Script) {
				onRamp(s, 300, func(r *control.Result) error {
					s.Count(false, "ListenOverflows", 200)
					r.Open, r.StoppedBy = 300, control.StoppedByServer
					r.Failures = []control.Failure{{Phase: control.PhaseConnect, Error: control.Timeout, Count: 100}}
					return nil
				})
			},
			cause.AcceptQueue, true, "its queue was full 200 times",
		},
		"answers that are not HTTP": {
			func(s *sessiontest.Script) {
				onRamp(s, 100, func(r *control.Result) error {
					r.StoppedBy = control.StoppedByServer
					r.Failures = []control.Failure{{Phase: control.PhaseHandshake, Error: control.BadAnswer, Count: 100}}
					r.Open = 90
					return nil
				})
			},
			cause.ProtocolBroken, false, "the server broke the protocol 100 times",
		},
		"nothing that listens": {
			func(s *sessiontest.Script) {
				onRamp(s, 1, func(r *control.Result) error {
					r.StoppedBy = control.StoppedByServer
					r.Failures = []control.Failure{{Phase: control.PhaseConnect, Error: "ECONNREFUSED", Count: 100}}
					r.Open, r.Opened = 0, 0
					return nil
				})
			},
			cause.Refused, false, "nothing accepts on the server's address any more, at 0 connections",
		},
		"an end that nobody knows": {
			func(s *sessiontest.Script) {
				onRamp(s, 100, func(r *control.Result) error { r.Open, r.StoppedBy = 90, control.StoppedByServer; return nil })
			},
			cause.Unknown, false, "the ramp ended at 90 of 1000 connections",
		},
		"a server that dies": {
			func(s *sessiontest.Script) {
				onRamp(s, 250, func(*control.Result) error { s.KillServer("exit status 3: no luck"); return nil })
			},
			cause.ServerDied, false, "server process 1 of 1 ended: exit status 3: no luck",
		},
		"a server that the kernel kills": {
			func(s *sessiontest.Script) {
				onRamp(s, 250, func(*control.Result) error {
					s.Count(false, "oom_kill", 1)
					s.KillServer("signal killed")
					return nil
				})
			},
			cause.Memory, false, "signal killed",
		},
		"a swarm that dies": {
			func(s *sessiontest.Script) {
				onRamp(s, 250, func(*control.Result) error { return fmt.Errorf("the swarm %w: exit status 2", session.ErrSwarmEnded) })
			},
			cause.ClientDied, false, "exit status 2",
		},
		"a silent server": {
			func(s *sessiontest.Script) {
				s.OnAsk = func(question string, stats *contract.Stats) error {
					if stats.Connections < 500 {
						return nil
					}
					return &session.ContractError{What: "server did not answer stats within 60 s"}
				}
			},
			cause.ContractBroken, false, "did not answer stats within 60 s",
		},
		"what nobody foresaw": {
			func(s *sessiontest.Script) {
				onRamp(s, 250, func(*control.Result) error { return errors.New("it is Friday") })
			},
			cause.Unknown, false, "it is Friday",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sessiontest.New()
			s.OnOpen = func(session.Options) error { s.Say("it was a dark and stormy night"); return nil }
			test.script(s)
			r, stderr := measure(t, s)
			if (stderr != "") == test.valid {
				t.Errorf("%q is kept of the server's standard error, and valid is %v", stderr, test.valid)
			}
			if r.Stop.Reason != test.want.Reason || r.Valid != test.valid {
				t.Errorf("stopped by %q, valid %v (%q); want %q", r.Stop.Reason, r.Valid, r.Invalid, test.want.Reason)
			}
			says := func(text string) bool { return strings.Contains(text, test.says) }
			if !slices.ContainsFunc(r.Stop.Evidence, says) || !test.valid && !slices.ContainsFunc(r.Invalid, says) {
				t.Errorf("evidence %q, invalid because %q; want %q", r.Stop.Evidence, r.Invalid, test.says)
			}
		})
	}
}

// A server that counts connections which are gone is waited for, and that is told.
func TestConnectionsThatStayCounted(t *testing.T) {
	s := sessiontest.New()
	s.OnAsk = func(_ string, stats *contract.Stats) error {
		stats.Connections = max(stats.Connections, 7)
		return nil
	}
	r, _ := measure(t, s)
	if text := strings.Join(r.Warnings, "\n"); !strings.Contains(text, "30 s after the close the server still had 7 connections") {
		t.Errorf("warnings %q", text)
	}
}
