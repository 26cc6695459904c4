package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"connbench/harness/claims"
	"connbench/harness/lab"
	"connbench/harness/suite"
	"connbench/harness/variant"
)

func claimsCommand(p *places) *cobra.Command {
	results := ""
	c := &cobra.Command{
		Use:   "claims",
		Short: "Put what people repeat about connections to the test on this machine",
		Long: `Predict, measure and judge what people repeat about numbers of connections, in
trials that ask for more of them than a limit allows. Takes some minutes; three of
the claims take root, for network namespaces.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			run, failed := testClaims(c.Context(), p)
			if len(run.Trials) == 0 {
				return failed
			}
			run.Command = quoted([]string{"bin/connbench", "claims", "--results", results})
			if err := run.Write(results); err != nil {
				return err
			}
			if err := run.WriteMarkdown(c.OutOrStdout()); err != nil {
				return err
			}
			fmt.Fprintln(os.Stderr, "filed in", results)
			return failed
		},
	}
	c.Flags().StringVar(&results, "results", filepath.Join("results", "claims"), "folder for claims.md and claims.json")
	return c
}

// testClaims makes all trials. One that cannot be made is noted, and the next is. An
// error beside trials says why some were not made.
func testClaims(ctx context.Context, p *places) (run claims.Run, failed error) {
	run.Started = time.Now().UTC()
	run.Connbench, _ = suite.Version()
	outcomes := claims.Outcomes{}
	defer func() { run.Claims = claims.Judge(outcomes) }()
	all, err := p.discover()
	if err != nil {
		return run, err
	}
	watch := newWatcher(os.Stderr)
	defer watch.Close()
	programs := map[string]variant.Program{}
	for _, t := range claims.Trials() {
		if _, built := programs[t.Variant]; !built {
			choices, err := choose(all, []string{t.Variant}, []string{variant.ClassTuned})
			if err != nil {
				return run, err
			}
			passing, _, err := prepare(ctx, p, choices, watch)
			if err != nil {
				return run, err
			}
			programs[t.Variant] = passing[0]
		}
		watch.Say("claims: %s (%s)", t.Name, t.Shows)
		evidence := claims.Evidence{Name: t.Name, Lab: t.Lab, Variant: t.Variant, Shows: t.Shows, Plan: t.Plan}
		outcome, host, err := testClaim(ctx, p, t, programs[t.Variant], outcomes.Bytes(t.Variant), watch)
		switch {
		case ctx.Err() != nil:
			return run, fmt.Errorf("interrupted after %d of %d trials", len(run.Trials), len(claims.Trials()))
		case err != nil:
			watch.Say("claims: %s: %v", t.Name, err)
			evidence.Missing = err.Error()
		default:
			watch.Say("claims: %s: %d connections, stopped by %s", t.Name, outcome.Trial.Connections.Reached, outcome.Trial.Stop.Reason)
			evidence.Outcome, outcomes[t.Name] = &outcome, outcome
			if t.Lab == lab.Local {
				run.Host = host.Facts
			}
		}
		run.Trials = append(run.Trials, evidence)
	}
	return run, nil
}

// testClaim makes one trial in a lab of its own.
func testClaim(ctx context.Context, p *places, t claims.Trial, program variant.Program, bytes *float64, watch *watcher) (suite.Outcome, *lab.Host, error) {
	theLab, err := p.openLab(ctx, t.Lab, t.Plan.Client.Engine)
	if err != nil {
		return suite.Outcome{}, nil, err
	}
	defer theLab.Close()
	if err := suite.Confine(t.Plan, theLab); err != nil {
		return suite.Outcome{}, nil, err
	}
	if t.LeaveBytes > 0 {
		now, err := theLab.Server.Agent.Measure(ctx, nil, false)
		if err != nil {
			return suite.Outcome{}, nil, err
		}
		available := now.System.Memory.Available
		if available == nil || *available-t.LeaveBytes < t.Plan.MemoryReserveBytes {
			return suite.Outcome{}, nil, fmt.Errorf("it needs %d bytes of memory and what the plan keeps in reserve", t.LeaveBytes)
		}
		t.Plan.MemoryReserveBytes = *available - t.LeaveBytes
	}
	outcome, err := suite.Experiment{
		Plan: t.Plan, Lab: theLab, Program: program, Bytes: bytes, Watch: watch,
		Swarms: slices.Repeat([]string{filepath.Join(p.bin, "swarm")}, len(theLab.Clients)), // all hosts are this machine
	}.Run(ctx)
	return outcome, theLab.Server.Host, err
}
