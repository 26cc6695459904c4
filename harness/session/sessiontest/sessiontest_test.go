package sessiontest_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/cause"
	"connbench/harness/figure"
	"connbench/harness/phase"
	_ "connbench/harness/phase/all"
	"connbench/harness/phase/connections"
	"connbench/harness/phase/loads"
	"connbench/harness/phase/searches"
	"connbench/harness/plan"
	"connbench/harness/progress"
	"connbench/harness/reading"
	"connbench/harness/record"
	"connbench/harness/session"
	"connbench/harness/session/sessiontest"
	"connbench/harness/trial"
)

// run measures a script with every phase in the plan.
func run(t *testing.T, s *sessiontest.Script) (result record.Trial, samples []record.Sample) {
	t.Helper()
	p := plan.Default()
	p.Name, p.Variants, p.Connections = "scripted", []string{"scripted"}, 1000
	connections.HoldPlan.Set(&p, connections.HoldTable{Seconds: 2})
	load := loads.Load{Seconds: 2, PayloadBytes: 64, WarmupSeconds: 1}
	loads.EchoPlan.Set(&p, loads.EchoTable{Load: load, RatePerSecond: 1000})
	loads.SaturatePlan.Set(&p, loads.SaturateTable{Load: load, InFlight: 10})
	loads.PingPlan.Set(&p, loads.PingTable{Seconds: 2, IntervalSeconds: 1, PayloadBytes: 8})
	searches.SweepPlan.Set(&p, searches.SweepTable{Seconds: 1, PayloadBytes: 64, RatesPerSecond: []float64{1000, 2000}, P99US: 1000})
	searches.ComplexityPlan.Set(&p, searches.ComplexityTable{WorkUS: []int{10}, MessagesPerSecond: 1, P99US: 1000, Resolution: 1.1, Seconds: 1, PayloadBytes: 64})
	if problems := p.Problems(); len(problems) > 0 {
		t.Fatal(problems)
	}
	synctest.Test(t, func(t *testing.T) {
		result = trial.Run(t.Context(), trial.Input{
			Plan: p, Target: int(p.Connections), SharedKernel: s.Shared,
			Topology: phase.Topology{ServerProcesses: s.Processes, ServerCPUs: 2, KernelEnds: 2},
			Hosts:    s, Open: s.Open, Progress: progress.Discard{},
			Sample: func(sample record.Sample) { samples = append(samples, sample) },
		})
	})
	return result, samples
}

// A perfect pair gives a perfect trial, with the figures of the script.
func TestPerfect(t *testing.T) {
	s := sessiontest.New()
	result, samples := run(t, s)
	if !result.Valid || result.Noisy || len(result.Invalid)+len(result.Warnings) > 0 {
		t.Errorf("valid %v, noisy %v, %q, warnings %q", result.Valid, result.Noisy, result.Invalid, result.Warnings)
	}
	if result.Stop.Reason != cause.Target.Reason || result.Connections.Reached != 1000 {
		t.Errorf("%d connections, stopped by %s", result.Connections.Reached, result.Stop.Reason)
	}
	if len(s.Opened()) != 3 || s.Opened()[2].WorkMicroseconds != 10 {
		t.Errorf("sessions %+v, want the main one, the settled ramp's and that with 10 µs of work", s.Opened())
	}
	if len(samples) < 20 {
		t.Errorf("%d samples", len(samples))
	}
	for name, want := range map[string]float64{
		"per_connection.rss_bytes": 4096, "per_connection.rss_settled_bytes": 3072, "per_connection.live_heap_bytes": 1024, "per_connection.kernel_bytes": 2048,
		"ramp.connects_per_second": 10_000, "cpu.idle_cores": 0.01,
		// What an idle server takes meanwhile is in both, the ramp's pauses among it.
		"cpu.accept_us": 20 + 0.01*(100+8*200), "cpu.echo_us": 5 + 0.01*1000,
		"echo.p99_us": 100, "saturate.delivered_per_second": 50_000, "sweep.knee_per_second": 2000, "complexity.kept.10us": 1000,
	} {
		figure, err := figure.Find(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := figure.Of(&result); got == nil || math.Abs(*got-want) > want/500 {
			t.Errorf("%s is %v, want %g", name, value(got), want)
		}
	}
}

func value(x *float64) any {
	if x == nil {
		return nil
	}
	return *x
}

// Hooks change answers, and the methods of a script change its world.
func TestAlteredAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		alter func(s *sessiontest.Script)
		want  func(r record.Trial) bool
	}{
		"a corrupt echo": {
			func(s *sessiontest.Script) {
				s.OnDo = func(c control.Command, r *control.Result) error {
					if c.Op == "echo" {
						r.Corrupt = 1
					}
					return nil
				}
			},
			func(r record.Trial) bool { return !r.Valid },
		},
		"a connection lost while idle": {
			func(s *sessiontest.Script) {
				s.OnDo = func(c control.Command, r *control.Result) error {
					if c.Op == "ramp" && r.Open == 1000 {
						s.Lose(1)
					}
					return nil
				}
			},
			func(r record.Trial) bool {
				return r.Valid && connections.Hold.Of(&r).Lost == 1 && r.Connections.Reached == 999
			},
		},
		"a server that dies": {
			func(s *sessiontest.Script) {
				s.OnDo = func(c control.Command, _ *control.Result) error {
					if c.Op == "hold" {
						s.KillServer("exit status 2")
					}
					return nil
				}
			},
			func(r record.Trial) bool { return !r.Valid && r.Stop.Reason == cause.Target.Reason },
		},
		"a server that is killed for its fault": {
			func(s *sessiontest.Script) {
				s.OnDo = func(c control.Command, r *control.Result) error {
					if c.Op == "ramp" && r.Open == 500 {
						s.BreakContract("it wrote a line of more than 65536 bytes")
					}
					return nil
				}
			},
			func(r record.Trial) bool {
				return !r.Valid && r.Stop.Reason == cause.ContractBroken.Reason && strings.Contains(strings.Join(r.Stop.Evidence, ""), "a line of more than 65536 bytes")
			},
		},
		"a server that leaves others behind": {
			func(s *sessiontest.Script) {
				s.OnStop = &session.ContractError{What: "the server left processes behind when it ended: sleep"}
			},
			func(r record.Trial) bool {
				return !r.Valid && r.Stop.Reason == cause.Target.Reason && strings.Contains(strings.Join(r.Invalid, ""), "behind when it ended: sleep")
			},
		},
		"a process that the host refuses": {
			func(s *sessiontest.Script) {
				s.OnOpen = func(session.Options) error {
					return fmt.Errorf("server: %w", &session.StartError{Err: fmt.Errorf("starting server: fork/exec: %w", syscall.EAGAIN)})
				}
			},
			func(r record.Trial) bool {
				return !r.Valid && r.Stop.Reason == cause.ProcessLimit.Reason && strings.Contains(strings.Join(r.Stop.Evidence, ""), "resource temporarily unavailable")
			},
		},
		"a program that is none": {
			func(s *sessiontest.Script) {
				s.OnOpen = func(session.Options) error { return &session.StartError{Err: syscall.EACCES} }
			},
			func(r record.Trial) bool { return !r.Valid && r.Stop.Reason != cause.ProcessLimit.Reason },
		},
		"a swarm that is killed in the ramp": {
			func(s *sessiontest.Script) {
				s.OnDo = func(c control.Command, r *control.Result) error {
					if c.Op == "ramp" && r.Open == 500 {
						return fmt.Errorf("the swarm on client1 %w", session.ErrSwarmEnded)
					}
					return nil
				}
			},
			func(r record.Trial) bool {
				return !r.Valid && r.Connections.Peak == 500 && r.Stop.Reason == cause.ClientDied.Reason
			},
		},
		"a host that is lost in the ramp": {
			func(s *sessiontest.Script) {
				s.OnDo = func(c control.Command, r *control.Result) error {
					if c.Op == "ramp" && r.Open == 500 {
						s.LoseHost("server", "its connection ended")
						return fmt.Errorf("the swarm on client1 %w", session.ErrSwarmEnded)
					}
					return nil
				}
			},
			func(r record.Trial) bool {
				said := strings.Join(r.Stop.Evidence, "\n")
				return !r.Valid && r.Stop.Reason == cause.HostLost.Reason && strings.Contains(said, "host server: its connection ended")
			},
		},
		"a control group whose memory runs out in the ramp": {
			func(s *sessiontest.Script) {
				s.Costs.ConnectsPerSecond = 100
				var used atomic.Int64
				s.OnDo = func(c control.Command, r *control.Result) error {
					if c.Op == "ramp" && r.Open == 250 {
						used.Store(800 << 20)
					}
					return nil
				}
				s.OnMeasure = func(_ bool, m *agent.Measurement) error {
					m.System.Groups.Memory = &reading.GroupUse{Folder: "/group", Limit: 1 << 30, Used: used.Load()}
					return nil
				}
			},
			func(r record.Trial) bool {
				return r.Stop.Reason == cause.MemoryReserve.Reason && strings.Contains(r.Stop.Evidence[0], "control group /group") && r.Connections.Reached < 400
			},
		},
		"memory that runs out in the ramp": {
			func(s *sessiontest.Script) {
				s.Costs.ConnectsPerSecond = 100
				s.OnDo = func(c control.Command, r *control.Result) error {
					if c.Op == "ramp" && r.Open == 250 {
						s.TakeMemory(13 << 30)
					}
					return nil
				}
			},
			func(r record.Trial) bool {
				return r.Stop.Reason == cause.MemoryReserve.Reason && r.Connections.Reached < 400
			},
		},
		"other programs": {
			func(s *sessiontest.Script) {
				s.OnDo = func(control.Command, *control.Result) error { s.Steal(0, 1); return nil }
			},
			func(r record.Trial) bool { return r.Noisy && r.Valid },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sessiontest.New()
			test.alter(s)
			if result, _ := run(t, s); !test.want(result) {
				t.Errorf("%+v", result)
			}
		})
	}
}

// A trial that is interrupted ends at once.
func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := sessiontest.New()
		s.OnDo = func(control.Command, *control.Result) error { cancel(); return nil }
		p := plan.Default()
		result := trial.Run(ctx, trial.Input{
			Plan: p, Target: 100, Hosts: s, Open: s.Open, Progress: progress.Discard{}, Sample: func(record.Sample) {},
		})
		if result.Valid || result.Stop.Reason != cause.Interrupted.Reason {
			t.Errorf("valid %v, stopped by %q", result.Valid, result.Stop.Reason)
		}
	})
}
