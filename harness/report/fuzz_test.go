package report

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"connbench/harness/charts"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/record/recordtest"
)

// noNumber is what Go writes for it.
var noNumber = regexp.MustCompile(`(^|[^A-Za-z])([+-]?Inf|NaN)\b`)

// hasNoNumber finds one in a long text, where the expression alone would take most of
// a test's time.
func hasNoNumber(text []byte) bool {
	for _, word := range []string{"Inf", "NaN"} {
		for at := 0; ; at += len(word) {
			next := bytes.Index(text[at:], []byte(word))
			if next < 0 {
				break
			}
			at += next
			if noNumber.Match(text[max(0, at-2):min(len(text), at+len(word)+1)]) {
				return true
			}
		}
	}
	return false
}

// hasControls finds a control character that no form of a report may have.
func hasControls(text []byte) bool {
	for c := range byte(' ') {
		if c != '\n' && c != '\t' && bytes.IndexByte(text, c) >= 0 {
			return true
		}
	}
	return bytes.IndexByte(text, 0x7f) >= 0
}

// breaks reports every form of a report of a run that fails, or lets something through.
func breaks(run *record.Run) (faults []string) {
	drawings, err := charts.Of(run)
	if err != nil {
		return []string{err.Error()}
	}
	for _, chart := range drawings {
		if hasNoNumber(chart.SVG()) {
			faults = append(faults, chart.Name+" is drawn with what is no number")
		}
	}
	for name, write := range map[string]func(io.Writer) error{
		"terminal":     func(w io.Writer) error { return Print(w, run, 80) },
		TablesFile:     func(w io.Writer) error { return writeMarkdown(w, run, drawings) },
		TablesCSVFile:  func(w io.Writer) error { return writeTablesCSV(w, run) },
		TrialsCSVFile:  func(w io.Writer) error { return writeTrialsCSV(w, run) },
		SamplesCSVFile: func(w io.Writer) error { return writeSamplesCSV(w, run) },
		BenchFile:      func(w io.Writer) error { return writeBench(w, run) },
		TrackingFile:   func(w io.Writer) error { return writeTracking(w, run) },
		PageFile:       func(w io.Writer) error { return writePage(w, run, drawings) },
	} {
		var out bytes.Buffer
		if err := write(&out); err != nil {
			faults = append(faults, name+": "+err.Error())
		}
		text, _, _ := bytes.Cut(out.Bytes(), []byte("<script"))
		if hasControls(text) {
			faults = append(faults, name+" has control characters")
		}
		if hasNoNumber(text) {
			faults = append(faults, name+" has what is no number")
		}
	}
	return faults
}

// Whatever number a file has in whatever place, every form of a report can be made.
func TestAbsurdNumbers(t *testing.T) {
	o := recordtest.Default
	o.Rounds = 1
	o.Change = recordtest.Complexity
	run := recordtest.Read(o)
	run.Trials = run.Trials[:2]
	run.Trials[0].Schema = record.Schema
	text, err := json.Marshal(run.Trials[0])
	must(t, err)
	var trial map[string]any
	must(t, json.Unmarshal(text, &trial))
	file := filepath.Join(t.TempDir(), record.TrialsFile)
	absurd := 9e18 // or less than nothing, in turn
	var walk func(path string, value any, set func(any))
	walk = func(path string, value any, set func(any)) {
		switch value := value.(type) {
		case map[string]any:
			for key, inner := range value {
				walk(path+"."+key, inner, func(to any) { value[key] = to })
			}
		case []any:
			for i, inner := range value {
				if i == 0 {
					walk(path+"[0]", inner, func(to any) { value[i] = to })
				}
			}
		case float64:
			absurd = -absurd
			set(absurd)
			changed, err := json.Marshal(trial)
			must(t, err)
			must(t, os.WriteFile(file, changed, 0o644))
			if odd, err := folder.Open(file); err == nil {
				run.Trials[0] = odd.Trials[0]
				for _, fault := range breaks(run) {
					t.Errorf("%s = %g: %s", path, absurd, fault)
				}
			}
			set(value)
		}
	}
	walk("", trial, nil)
}

// FuzzReport makes every form of a report of whatever can be read: a results folder may
// be somebody else's. None of it breaks, and no control character comes through.
func FuzzReport(f *testing.F) {
	o := recordtest.Default
	o.Rounds = 1
	for i, trial := range recordtest.Read(o).Trials[:2] {
		if trial.Schema = record.Schema; i == 1 {
			recordtest.Complexity(&trial)
		}
		line, err := json.Marshal(trial)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	manifest := recordtest.Read(o).Manifest
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), record.TrialsFile)
		must(t, os.WriteFile(path, text, 0o644))
		run, err := folder.Open(path)
		if err != nil {
			return
		}
		run.Manifest, run.Dir = manifest, filepath.Dir(path)
		for _, fault := range breaks(run) {
			t.Error(fault)
		}
	})
}
