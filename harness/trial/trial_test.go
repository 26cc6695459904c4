package trial_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/cause"
	"connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/phase/connections"
	"connbench/harness/phase/loads"
	"connbench/harness/plan"
	"connbench/harness/progress"
	"connbench/harness/record"
	"connbench/harness/session/sessiontest"
	"connbench/harness/trial"
	"connbench/servers/contract"
)

const target = 2000

// run measures a scripted server and swarm by a plan with a ramp, a hold, an echo and
// a saturated load.
func run(t *testing.T, s *sessiontest.Script, change func(*plan.Plan)) record.Trial {
	t.Helper()
	return runClass(t, s, "tuned", change)
}

// runClass is run for a server of a class.
func runClass(t *testing.T, s *sessiontest.Script, class string, change func(*plan.Plan)) (result record.Trial) {
	t.Helper()
	p := plan.Default()
	p.Name, p.Variants, p.Connections = "scripted", []string{"scripted"}, target
	load := loads.Load{Seconds: 2, PayloadBytes: 64, WarmupSeconds: 1}
	connections.HoldPlan.Set(&p, connections.HoldTable{Seconds: 2})
	loads.EchoPlan.Set(&p, loads.EchoTable{Load: load, RatePerSecond: 1000})
	loads.SaturatePlan.Set(&p, loads.SaturateTable{Load: load, InFlight: 10})
	if change != nil {
		change(&p)
	}
	ends := 1
	if s.Shared {
		ends = 2
	}
	synctest.Test(t, func(t *testing.T) {
		result = trial.Run(t.Context(), trial.Input{
			Record: record.Trial{Class: class},
			Plan:   p, Target: target, SharedKernel: s.Shared,
			Topology: phase.Topology{ServerProcesses: s.Processes, ServerCPUs: 2, DescriptorsPerProcess: 20_000, KernelEnds: ends},
			Hosts:    s, Open: s.Open, Progress: progress.Discard{}, Sample: func(record.Sample) {},
		})
	})
	return result
}

// during calls do once, after the command's n-th time.
func during(op control.Op, n int, do func(r *control.Result)) func(control.Command, *control.Result) error {
	return func(c control.Command, r *control.Result) error {
		if c.Op == op {
			if n--; n == 0 {
				do(r)
			}
		}
		return nil
	}
}

// What makes a trial invalid, and what only has to be said.
func TestVerdicts(t *testing.T) {
	for name, test := range map[string]struct {
		alter   func(s *sessiontest.Script)
		invalid string // "" where the trial is valid
		warning string
		noisy   bool
	}{
		"perfect": {},
		"the server counts one more": {
			alter: func(s *sessiontest.Script) {
				s.OnAsk = func(question string, stats *contract.Stats) error {
					if question == contract.QuestionStats && stats.Connections == target {
						stats.Connections++
					}
					return nil
				}
			},
			invalid: "census: 2000 connections answered the swarm, the server counts 2001, the kernel 2000",
		},
		"the kernel counts one less": {
			alter: func(s *sessiontest.Script) {
				s.OnCount = func(n *int64) error { *n--; return nil }
			},
			invalid: "the kernel 1999",
		},
		"the kernel cannot count": {
			alter:   func(s *sessiontest.Script) { s.OnCount = func(*int64) error { return errors.New("no sock_diag") } },
			warning: "the kernel did not count the server's connections: no sock_diag",
		},
		"a connection that does not answer": {
			alter: func(s *sessiontest.Script) {
				s.OnDo = during("census", 1, func(r *control.Result) { r.Delivered-- })
			},
			invalid: "census: 1999 connections answered the swarm",
		},
		"a corrupt echo": {
			alter: func(s *sessiontest.Script) {
				s.OnDo = during("echo", 2, func(r *control.Result) { r.Corrupt = 3 })
			},
			invalid: "echo: 3 echoes were not what had been sent",
		},
		"a corrupt echo in the warm-up": {
			alter: func(s *sessiontest.Script) {
				s.OnDo = during("echo", 1, func(r *control.Result) { r.Corrupt = 8 })
			},
			invalid: "echo (warm-up): 8 echoes were not what had been sent",
		},
		"connections lost in the warm-up": {
			alter:   func(s *sessiontest.Script) { s.OnDo = during("echo", 1, func(*control.Result) { s.Lose(8) }) },
			warning: "8 connections were lost",
		},
		"messages without an answer": {
			alter: func(s *sessiontest.Script) {
				s.OnDo = during("echo", 2, func(r *control.Result) { r.Delivered, r.Unanswered = r.Delivered-3, 3 })
			},
			warning: "echo: 3 of 2000 messages had no answer",
		},
		"a swarm that is late": {
			alter: func(s *sessiontest.Script) {
				s.OnDo = during("echo", 2, func(r *control.Result) { r.Usage.LagP99Seconds = 11e-6 })
			},
			warning: "echo: the swarm sent late",
		},
		"connections lost while idle": {
			alter:   func(s *sessiontest.Script) { s.OnDo = during("ramp", 8, func(*control.Result) { s.Lose(5) }) },
			warning: "5 connections were lost while idle",
		},
		"time stolen by the hypervisor": {
			alter: func(s *sessiontest.Script) {
				s.OnDo = func(control.Command, *control.Result) error { s.Steal(0.5, 0); return nil }
			},
			warning: "the hypervisor took", noisy: true,
		},
		"a CPU quota": {
			alter: func(s *sessiontest.Script) {
				s.Throttle(0)
				s.OnDo = func(control.Command, *control.Result) error { s.Throttle(0.1); return nil }
			},
			warning: "a CPU quota kept the host's tasks from running", noisy: true,
		},
		"other programs": {
			alter: func(s *sessiontest.Script) {
				s.OnDo = func(control.Command, *control.Result) error { s.Steal(0, 1); return nil }
			},
			warning: "other programs took", noisy: true,
		},
		"a server that dies idle": {
			alter: func(s *sessiontest.Script) {
				s.OnDo = during("hold", 1, func(*control.Result) { s.KillServer("signal killed") })
			},
			invalid: "signal killed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sessiontest.New()
			if test.alter != nil {
				test.alter(s)
			}
			got := run(t, s, nil)
			if invalid := strings.Join(got.Invalid, "\n"); (invalid == "") != (test.invalid == "") || !strings.Contains(invalid, test.invalid) || got.Valid != (test.invalid == "") {
				t.Errorf("valid %v: %q, want %q", got.Valid, invalid, test.invalid)
			}
			if warnings := strings.Join(got.Warnings, "\n"); !strings.Contains(warnings, test.warning) || test.warning == "" && test.invalid == "" && warnings != "" {
				t.Errorf("warnings %q, want %q", warnings, test.warning)
			}
			if got.Noisy != test.noisy {
				t.Errorf("noisy %v", got.Noisy)
			}
		})
	}
}

// Why the ramp ended, by the facts that a trial gathers.
func TestStops(t *testing.T) {
	// short ends the ramp with some connections open, for a reason.
	short := func(s *sessiontest.Script, stoppedBy string, failures ...control.Failure) {
		s.OnDo = during("ramp", 4, func(r *control.Result) {
			s.Lose(10)
			r.Open, r.StoppedBy, r.Failures = r.Open-10, stoppedBy, failures
		})
	}
	for name, test := range map[string]struct {
		alter  func(s *sessiontest.Script)
		change func(*plan.Plan)
		want   *cause.Cause
	}{
		"all are open": {want: cause.Target},
		"EMFILE": {want: cause.ClientDescriptors, alter: func(s *sessiontest.Script) {
			short(s, control.StoppedByClient, control.Failure{Phase: "socket", Error: "EMFILE", Count: 1})
		}},
		"timeouts while the queue overflowed": {want: cause.AcceptQueue, alter: func(s *sessiontest.Script) {
			short(s, control.StoppedByServer, control.Failure{Phase: "connect", Error: "timeout", Count: 100})
			stop := s.OnDo
			s.OnDo = func(c control.Command, r *control.Result) error {
				if c.Op == "ramp" {
					s.Count(false, "ListenOverflows", 50)
				}
				return stop(c, r)
			}
		}},
		"silence": {want: cause.Timeout, alter: func(s *sessiontest.Script) {
			short(s, control.StoppedByServer, control.Failure{Phase: "handshake", Error: "timeout", Count: 100})
		}},
		"the server dies in the ramp": {want: cause.ServerDied, alter: func(s *sessiontest.Script) {
			s.OnDo = during("ramp", 3, func(*control.Result) { s.KillServer("exit status 2") })
		}},
		"the kernel kills it": {want: cause.Memory, alter: func(s *sessiontest.Script) {
			s.OnDo = during("ramp", 3, func(*control.Result) { s.Count(false, "oom_kill", 1); s.KillServer("signal killed") })
		}},
		"the reserve": {want: cause.MemoryReserve, alter: func(s *sessiontest.Script) {
			s.Costs.ConnectsPerSecond = 100
			s.OnDo = during("ramp", 2, func(*control.Result) { s.TakeMemory(14 << 30) })
		}},
		"the budget": {want: cause.Budget, change: func(p *plan.Plan) { p.BudgetBytes = 12 << 20 }},
	} {
		t.Run(name, func(t *testing.T) {
			s := sessiontest.New()
			if test.alter != nil {
				test.alter(s)
			}
			got := run(t, s, test.change)
			if got.Stop.Reason != test.want.Reason || len(got.Stop.Evidence) == 0 {
				t.Errorf("stopped by %q (%q), want %q", got.Stop.Reason, got.Stop.Evidence, test.want.Reason)
			}
		})
	}
}

// Sockets of other programs are not ours: few are taken out of the kernel's memory,
// and beside many a point is not believed. The slope is right, or there is none.
func TestForeignSockets(t *testing.T) {
	for name, test := range map[string]struct {
		each     int64 // opened by others in each step
		group    bool  // the servers' control group can be asked
		believed bool
	}{
		"none": {0, false, true}, "few": {20, false, true}, "closed": {-20, false, true},
		"many": {2000, false, false}, "gone": {-300, false, false},
		"many, and a group": {2000, true, true}, "gone, and a group": {-300, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := sessiontest.New()
			s.OnDo = func(c control.Command, r *control.Result) error {
				if c.Op == "ramp" {
					s.OpenSockets(test.each)
				}
				return nil
			}
			s.OnMeasure = func(_ bool, m *agent.Measurement) error {
				if !test.group {
					m.GroupKernelBytes = nil
				}
				return nil
			}
			got := run(t, s, nil)
			slope := got.PerConnection.KernelBytes
			warned := slices.ContainsFunc(got.Warnings, func(w string) bool { return strings.Contains(w, "kernel memory was not believed") })
			switch {
			case test.believed && (slope == nil || math.Abs(*slope-2*1024) > 10 || warned):
				t.Errorf("kernel bytes %v, warnings %q", slope, got.Warnings)
			case !test.believed && (slope != nil || !warned):
				t.Errorf("kernel bytes %v, warnings %q", slope, got.Warnings)
			}
		})
	}
}

// What a load says of itself: late and lost messages, the swarm's lag, and whose fault
// the pace was.
func TestLoads(t *testing.T) {
	for name, test := range map[string]struct {
		alter       func(r *control.Result)
		clientBound bool
		believed    bool
	}{
		"sound":                           {func(*control.Result) {}, false, true},
		"lag is a tenth":                  {func(r *control.Result) { r.Usage.LagP99Seconds = 10e-6 }, false, true},
		"lag is more":                     {func(r *control.Result) { r.Usage.LagP99Seconds = 10.3e-6 }, true, true},
		"a busy swarm that is in time":    {func(r *control.Result) { r.Usage.Busy = 0.99 }, false, true},
		"two of 2,000 have no answer":     {func(r *control.Result) { r.Delivered, r.Unanswered = 1998, 2 }, false, true},
		"three of 2,000 have no answer":   {func(r *control.Result) { r.Delivered, r.Unanswered = 1997, 3 }, false, false},
		"late ones have had their answer": {func(r *control.Result) { r.Delivered, r.Late = 1000, 1000 }, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := sessiontest.New()
			var seen control.Result
			s.OnDo = during("echo", 2, func(r *control.Result) { test.alter(r); seen = *r })
			got := run(t, s, nil)
			l := loads.Echo.Of(&got)
			if l.ClientBound != test.clientBound {
				t.Errorf("client-bound %v", l.ClientBound)
			}
			if *l.Offered != 2000 || l.Delivered != seen.Delivered || *l.Late != seen.Late || *l.Unanswered != seen.Unanswered || l.DeliveredPerSecond != float64(seen.Delivered)/2 {
				t.Errorf("%d offered, %d delivered (%g/s), %d late, %d unanswered; the swarm said %+v", *l.Offered, l.Delivered, l.DeliveredPerSecond, *l.Late, *l.Unanswered, seen)
			}
			p99 := figure.Must("echo.p99_us")
			if value, doubt := p99.Value(&got); (value != nil) != test.believed || (doubt == "") != test.believed {
				t.Errorf("p99 %v, doubt %q", value, doubt)
			}
		})
	}
}

// A swarm that cannot keep a closed loop busy is told from a server that cannot.
func TestSaturatedBy(t *testing.T) {
	for name, test := range map[string]struct {
		busy        float64
		echoUS      float64 // of the server, of whose 2 CPUs 50,000 a second then take so much
		clientBound bool
	}{
		"both have room":     {0.5, 5, false},
		"the swarm has none": {0.99, 5, true},
		"neither has":        {0.99, 38, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := sessiontest.New()
			s.Costs.EchoUS = test.echoUS
			s.OnDo = during("saturate", 2, func(r *control.Result) { r.Usage.Busy = test.busy })
			got := run(t, s, nil)
			if l := loads.Saturate.Of(&got); l.ClientBound != test.clientBound {
				t.Errorf("client-bound %v", l.ClientBound)
			}
		})
	}
}

// A message that every connection echoes within the ramp is part of what is measured only if it
// came back.
func TestSilentEchoesInTheRamp(t *testing.T) {
	for name, test := range map[string]struct {
		alter   func(s *sessiontest.Script, r *control.Result)
		invalid string
	}{
		"all come back": {func(*sessiontest.Script, *control.Result) {}, ""},
		"late ones":     {func(_ *sessiontest.Script, r *control.Result) { r.Delivered, r.Late = r.Delivered-3, 3 }, ""},
		"silent ones": {func(_ *sessiontest.Script, r *control.Result) { r.Delivered, r.Unanswered = r.Delivered-3, 3 },
			"ramp: 3 of 500 connections did not echo a message of 2000 bytes, 0 were lost"},
		"lost ones": {func(_ *sessiontest.Script, r *control.Result) { r.Lost = 2 },
			"ramp: 0 of 500 connections did not echo a message of 2000 bytes, 2 were lost"},
		"corrupt ones": {func(_ *sessiontest.Script, r *control.Result) { r.Delivered, r.Corrupt = r.Delivered-4, 4 },
			"ramp: 4 echoes were not what had been sent"},
	} {
		s := sessiontest.New()
		s.OnDo = during("census", 2, func(r *control.Result) { test.alter(s, r) })
		got := run(t, s, func(p *plan.Plan) {
			connections.RampPlan.Set(p, connections.RampTable{Steps: 8, Window: 256, TimeoutSeconds: 10, PauseSeconds: 0.2, PayloadBytes: 2000})
		})
		if reasons := strings.Join(got.Invalid, "\n"); reasons != test.invalid {
			t.Errorf("%s: invalid %q, want %q", name, reasons, test.invalid)
		}
	}
	// A server that ends meanwhile is what ended the ramp.
	s := sessiontest.New()
	s.OnDo = during("census", 2, func(r *control.Result) {
		s.KillServer("signal: killed")
		r.Delivered, r.Lost = 0, int(r.Offered)
	})
	got := run(t, s, func(p *plan.Plan) {
		connections.RampPlan.Set(p, connections.RampTable{Steps: 8, Window: 256, TimeoutSeconds: 10, PauseSeconds: 0.2, PayloadBytes: 2000})
	})
	if reasons := strings.Join(got.Invalid, "\n"); strings.Contains(reasons, "did not echo") {
		t.Errorf("invalid: %q", reasons)
	}
}
