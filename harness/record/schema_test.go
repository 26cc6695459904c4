package record_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"connbench/harness/cause"
	"connbench/harness/record"
	"connbench/harness/record/recordtest"
	"connbench/harness/schema"
)

var update = flag.Bool("update", false, "write the schemas anew")

const results = "../../results"

// documented are the files of a run with a schema in results/.
var documented = []struct {
	file, schema, title string
	kind                reflect.Type
}{
	{record.ManifestFile, "manifest.schema.json", "manifest.json", reflect.TypeFor[record.Manifest]()},
	{record.TrialsFile, "trial.schema.json", "a line of trials.jsonl", reflect.TypeFor[record.Trial]()},
	{record.SamplesFile, "sample.schema.json", "a line of samples.jsonl.gz", reflect.TypeFor[record.Sample]()},
}

// filed is the schema that stands in results/, which must be that of the Go type.
func filed(t *testing.T, file, title string, kind reflect.Type) *jsonschema.Resolved {
	t.Helper()
	path := filepath.Join(results, file)
	var sections map[string]reflect.Type
	if kind == reflect.TypeFor[record.Trial]() {
		sections = map[string]reflect.Type{}
		names, types := record.Sections()
		for i, name := range names {
			sections[name] = types[i]
		}
	}
	made, err := schema.Of(kind, title, sections)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *update {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	there, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, there) {
		t.Errorf("%s is not what the record is: go test ./harness/record -update", path)
	}
	var read jsonschema.Schema
	if err := json.Unmarshal(there, &read); err != nil {
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
		schema := filed(t, d.schema, d.title, d.kind)
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
	schema := filed(t, "trial.schema.json", "a line of trials.jsonl", reflect.TypeFor[record.Trial]())
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
