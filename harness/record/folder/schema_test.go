package folder_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"connbench/harness/cause"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/record/recordtest"
)

const results = "../../../results"

// documented are the files of a run with a schema in results/.
var documented = []struct{ file, schema string }{
	{record.ManifestFile, "manifest.schema.json"},
	{record.TrialsFile, "trial.schema.json"},
	{record.SamplesFile, "sample.schema.json"},
}

// filed is the schema that stands in results/.
func filed(t *testing.T, file string) *jsonschema.Resolved {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(results, file))
	if err != nil {
		t.Fatal(err)
	}
	var read jsonschema.Schema
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	resolved, err := read.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return resolved
}

// The schemas hold for what the writer writes. Package publish checks the published runs.
func TestFilesAreAsTheirSchemasSay(t *testing.T) {
	o := recordtest.Default
	o.Rounds = 2
	o.Change = func(trial *record.Trial) {
		if trial.Round == 2 { // as little as a trial may hold
			*trial = record.Trial{Trial: trial.Trial, Round: 2, Variant: trial.Variant, Class: "tuned", Plan: "full", Lab: "local", Engine: "socket",
				Valid: false, Invalid: []string{"died"}, Connections: record.Connections{Target: 1}, Stop: record.Stop{Reason: cause.ServerDied.Reason}}
		}
	}
	dir := recordtest.Write(t, o)
	for _, d := range documented {
		schema, n := filed(t, d.schema), 0
		for value, err := range folder.Values(filepath.Join(dir, d.file)) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			if err := schema.Validate(value); err != nil {
				t.Errorf("%s, value %d: %v", d.file, n, err)
			}
		}
		if n == 0 && d.file != record.SamplesFile {
			t.Errorf("%s holds nothing", d.file)
		}
	}
}

// firstValue is the first JSON value of a file.
func firstValue(t *testing.T, path string) any {
	t.Helper()
	for value, err := range folder.Values(path) {
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	t.Fatalf("%s holds nothing", path)
	return nil
}

func TestSchemaRefuses(t *testing.T) {
	schema := filed(t, "trial.schema.json")
	written := filepath.Join(recordtest.Write(t, recordtest.Default), record.TrialsFile)
	for name, change := range map[string]func(map[string]any){
		"a missing member":      func(trial map[string]any) { delete(trial, "variant") },
		"an unknown member":     func(trial map[string]any) { trial["surprise"] = 1.0 },
		"a word for a number":   func(trial map[string]any) { trial["round"] = "one" },
		"a part of a count":     func(trial map[string]any) { trial["round"] = 1.5 },
		"null for a list":       func(trial map[string]any) { trial["warnings"] = nil },
		"null for a number":     func(trial map[string]any) { trial["seconds"] = nil },
		"an error within":       func(trial map[string]any) { delete(trial["stop"].(map[string]any), "reason") },
		"an error in a list":    func(trial map[string]any) { trial["server_cpus"] = []any{"one"} },
		"an error in a mapping": func(trial map[string]any) { trial["fits"] = map[string]any{"rss_bytes": 1.0} },
	} {
		trial := firstValue(t, written).(map[string]any)
		if err := schema.Validate(trial); err != nil {
			t.Fatal(err)
		}
		if change(trial); schema.Validate(trial) == nil {
			t.Errorf("%s is let through", name)
		}
	}
	if schema.Validate([]any{}) == nil {
		t.Error("a list is let through")
	}
}
