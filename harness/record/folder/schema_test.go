package folder_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"connbench/harness/cause"
	"connbench/harness/record"
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

// values are the first JSON values of a file.
func values(t *testing.T, path string) (list []any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var reader io.Reader = bytes.NewReader(text)
	if strings.HasSuffix(path, ".gz") {
		if reader, err = gzip.NewReader(reader); err != nil {
			t.Fatal(err)
		}
	}
	const enough = 500
	for decoder := json.NewDecoder(reader); len(list) < enough; {
		var value any
		if err := decoder.Decode(&value); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		list = append(list, value)
	}
	return list
}

// The schemas hold for what the writer writes, and for every published run.
func TestFilesAreAsTheirSchemasSay(t *testing.T) {
	o := recordtest.Default
	o.Rounds = 2
	o.Change = func(trial *record.Trial) {
		if trial.Round == 2 { // as little as a trial may hold
			*trial = record.Trial{Trial: trial.Trial, Round: 2, Variant: trial.Variant, Class: "tuned", Plan: "full", Lab: "local", Engine: "socket",
				Valid: false, Invalid: []string{"died"}, Connections: record.Connections{Target: 1}, Stop: record.Stop{Reason: cause.ServerDied.Reason}}
		}
	}
	runs, err := filepath.Glob(filepath.Join(results, "*", record.TrialsFile))
	if err != nil {
		t.Fatal(err)
	}
	runs = append(runs, filepath.Join(recordtest.Write(t, o), record.TrialsFile))
	for _, d := range documented {
		schema := filed(t, d.schema)
		for _, run := range runs {
			path := filepath.Join(filepath.Dir(run), d.file)
			for i, value := range values(t, path) {
				if err := schema.Validate(value); err != nil {
					t.Errorf("%s, value %d: %v", path, i+1, err)
				}
			}
		}
	}
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
		trial := values(t, written)[0].(map[string]any)
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
