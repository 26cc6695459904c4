package phase_test

import (
	"strings"
	"testing"

	"connbench/harness/compare"
	"connbench/harness/phase/loads"
	"connbench/harness/record/recordtest"
)

// What a phase is asked to do spoils its figures. Package compare does not import the
// phases, and is initialised before they have added their keys: here as in the
// program.
func TestPhasesSpoilTheirFigures(t *testing.T) {
	old, new := recordtest.Read(recordtest.Default), recordtest.Read(recordtest.Default)
	of := func(payload int) map[string]any {
		return map[string]any{loads.EchoPlan.Name(): map[string]any{"payload_bytes": payload}}
	}
	old.Manifest.Plan, new.Manifest.Plan = of(64), of(65)
	c, err := compare.Compare(old, new, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Environment) != 1 || !strings.Contains(c.Environment[0].Spoils, "the phase echo") {
		t.Errorf("differences %+v, want echo.payload_bytes, which spoils the phase echo", c.Environment)
	}
}
