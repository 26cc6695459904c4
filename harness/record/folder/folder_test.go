package folder

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"connbench/harness/cause"
	"connbench/harness/explain"
	"connbench/harness/record"
)

func trial(number int) record.Trial {
	rss := 9214.5
	return record.Trial{
		Trial: number, Round: 1, Variant: "goroutine", Class: "tuned", Plan: "quick", Lab: "local", Engine: "socket",
		Started: time.Unix(1_700_000_000, 0).UTC(), Valid: true,
		Connections:   record.Connections{Target: 1000, Reached: 1000, Peak: 1000},
		Stop:          record.Stop{Reason: cause.Target.Reason},
		PerConnection: record.PerConnection{RSSBytes: &rss},
	}
}

func manifest() record.Manifest {
	return record.Manifest{Title: "a run", Started: time.Unix(1_700_000_000, 0).UTC(), State: "running", Lab: "local", Planned: 3}
}

// written makes a whole run of two trials with samples, and closes it.
func written(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "results", "run")
	w, err := Create(dir, manifest())
	must(t, err)
	for number := 1; number <= 2; number++ {
		for i := range 50 {
			must(t, w.AppendSample(record.Sample{Trial: number, Phase: "ramp", Seconds: float64(i) / 2, Open: i}))
		}
		_, err := w.AppendTrial(trial(number))
		must(t, err)
	}
	must(t, w.Close())
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func samples(run *record.Run) (list []record.Sample, err error) {
	for sample, err := range Samples(run) {
		if err != nil {
			return list, err
		}
		list = append(list, sample)
	}
	return list, nil
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	run, err := Open(written(t))
	must(t, err)
	want := manifest()
	want.Schema = record.Schema
	if !reflect.DeepEqual(run.Manifest, want) {
		t.Errorf("manifest is\n%+v, want\n%+v", run.Manifest, want)
	}
	wantTrial := trial(2)
	wantTrial.Schema = record.Schema
	fillLists(&wantTrial)
	if len(run.Trials) != 2 || !reflect.DeepEqual(run.Trials[1], wantTrial) {
		t.Errorf("trials are\n%+v, want the second\n%+v", run.Trials, wantTrial)
	}
	list, err := samples(run)
	must(t, err)
	if len(list) != 100 || list[99].Trial != 2 || list[99].Open != 49 {
		t.Errorf("%d samples, want 100 in their order", len(list))
	}
	if len(run.Warnings) > 0 {
		t.Errorf("warnings: %q", run.Warnings)
	}
}

func TestFigureThatWasNotTakenIsNull(t *testing.T) {
	dir := written(t)
	text, err := os.ReadFile(filepath.Join(dir, record.TrialsFile))
	must(t, err)
	for _, want := range []string{`"pss_bytes":null`, `"warnings":[]`, `"evidence":[]`, `"swarm":null`} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s is missing in %s", want, text)
		}
	}
}

func TestTrialsFileAloneIsRead(t *testing.T) {
	run, err := Open(filepath.Join(written(t), record.TrialsFile))
	must(t, err)
	if len(run.Trials) != 2 || run.Manifest.Schema != 0 {
		t.Errorf("%d trials and manifest schema %d, want 2 and 0", len(run.Trials), run.Manifest.Schema)
	}
	if list, err := samples(run); len(list) > 0 || err != nil {
		t.Errorf("samples of a trials file: %d, %v", len(list), err)
	}
}

// A killed run is cut off anywhere: whatever was whole before the cut is read,
// and the rest is named, not an error.
func TestKilledRunIsReadUpToTheCut(t *testing.T) {
	dir := written(t)
	whole, err := os.ReadFile(filepath.Join(dir, record.TrialsFile))
	must(t, err)
	first := bytes.IndexByte(whole, '\n') + 1
	for _, cut := range []int{first + 1, first + 100, len(whole) - 2} {
		must(t, os.WriteFile(filepath.Join(dir, record.TrialsFile), whole[:cut], 0o644))
		run, err := Open(dir)
		must(t, err)
		if len(run.Trials) != 1 || len(run.Warnings) != 1 || !strings.Contains(run.Warnings[0], "trials.jsonl:2: last line is incomplete") {
			t.Errorf("cut at %d: %d trials, warnings %q", cut, len(run.Trials), run.Warnings)
		}
	}
}

func TestSamplesOfAKilledRunAreRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	w, err := Create(dir, manifest())
	must(t, err)
	for i := range flushSamples + 1 { // no trial ends, nothing is closed
		must(t, w.AppendSample(record.Sample{Trial: 1, Phase: "ramp", Open: i}))
	}
	run, err := Open(dir)
	must(t, err)
	if list, err := samples(run); len(list) != flushSamples || err != nil {
		t.Errorf("%d samples (%v), want the %d flushed", len(list), err, flushSamples)
	}
	must(t, w.Close())

	packed, err := os.ReadFile(filepath.Join(dir, record.SamplesFile))
	must(t, err)
	for cut := range packed {
		must(t, os.WriteFile(filepath.Join(dir, record.SamplesFile), packed[:cut], 0o644))
		if _, err := samples(run); err != nil {
			t.Fatalf("cut at byte %d of %d: %v", cut, len(packed), err)
		}
	}
}

func TestSamplesAndTrialsFromSeveralGoroutines(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	w, err := Create(dir, manifest())
	must(t, err)
	var group sync.WaitGroup
	for number := 1; number <= 4; number++ {
		group.Go(func() {
			for range 10 {
				if err := w.AppendSample(record.Sample{Trial: number}); err != nil {
					t.Error(err)
				}
			}
			if _, err := w.AppendTrial(trial(number)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	must(t, w.Close())
	run, err := Open(dir)
	must(t, err)
	if list, err := samples(run); len(run.Trials) != 4 || len(list) != 40 || err != nil {
		t.Errorf("%d trials, %d samples, %v", len(run.Trials), len(list), err)
	}
}

func TestManifestIsReplacedAsAWhole(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	m := manifest()
	w, err := Create(dir, m)
	must(t, err)
	defer w.Close()
	m.State = "finished"
	must(t, w.WriteManifest(m))
	run, err := Open(dir)
	must(t, err)
	if run.Manifest.State != "finished" {
		t.Errorf("state is %q", run.Manifest.State)
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 3 {
		t.Errorf("files left: %v", entries)
	}
	m.Plan = math.NaN()
	if err := w.WriteManifest(m); err == nil {
		t.Error("a manifest that is no JSON was written")
	}
}

func TestFolderThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "full")
	must(t, os.Mkdir(full, 0o755))
	must(t, os.WriteFile(filepath.Join(full, "notes"), nil, 0o644))
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o644))
	for path, want := range map[string]string{
		full:                       "is not empty",
		file:                       "cannot be a folder",
		filepath.Join(file, "run"): "cannot be a folder",
		"/proc/connbench-results":  "/proc/connbench-results",
	} {
		if _, err := Create(path, manifest()); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Create(%s): %v, want one line with %q", path, err, want)
		}
	}
	if os.Geteuid() == 0 {
		return // root may write everywhere
	}
	must(t, os.Chmod(dir, 0o555))
	if _, err := Create(filepath.Join(dir, "run"), manifest()); err == nil || !strings.Contains(explain.HintOf(err), "write permission") {
		t.Errorf("read-only folder: %v", err)
	}
}

// Any write can be the one for which the disk is full. /dev/full is such a disk.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("no /dev/full here: %v", err)
	}
	defer full.Close()
	w := &Writer{dir: "results/run", trials: full, samples: full}
	_, err = w.AppendTrial(trial(1))
	if err == nil || err.Error() != "no space left for results/run" || !strings.Contains(explain.HintOf(err), "free some") {
		t.Errorf("AppendTrial on a full disk: %v", err)
	}
	err = nil
	for i := 0; i < flushSamples && err == nil; i++ { // they are buffered until then
		err = w.AppendSample(record.Sample{Trial: 1})
	}
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("AppendSample on a full disk: %v", err)
	}
}

// What a run's folder was moved, removed or replaced for is told at the next write:
// the kernel would go on taking it.
func TestFolderThatVanishes(t *testing.T) {
	for name, vanish := range map[string]func(dir string) error{
		"removed": os.RemoveAll,
		"moved":   func(dir string) error { return os.Rename(dir, dir+"-elsewhere") },
		"replaced": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, record.SamplesFile)), os.WriteFile(filepath.Join(dir, record.SamplesFile), nil, 0o644))
		},
	} {
		dir := filepath.Join(t.TempDir(), "run")
		w, err := Create(dir, manifest())
		must(t, err)
		must(t, w.AppendSample(record.Sample{Trial: 1}))
		must(t, vanish(dir))
		_, noTrial := w.AppendTrial(trial(1))
		for what, err := range map[string]error{
			"sample": w.AppendSample(record.Sample{Trial: 1}), "trial": noTrial, "manifest": w.WriteManifest(manifest()),
		} {
			if err == nil || !strings.Contains(err.Error(), "was removed or replaced") {
				t.Errorf("%s, then a %s: %v", name, what, err)
			}
		}
		w.Close()
	}
}

// Whatever a run is told to file, it can be read again.
func TestNothingIsWrittenThatCannotBeRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	for name, change := range map[string]func(*record.Manifest){
		"lab":     func(m *record.Manifest) { m.Lab = "a/b" },
		"variant": func(m *record.Manifest) { m.Variants = []record.Variant{{Name: "a b", Class: "tuned"}} },
		"state":   func(m *record.Manifest) { m.State = "odd" },
		"text":    func(m *record.Manifest) { m.Title = strings.Repeat("x", maxTextBytes+1) },
		"number":  func(m *record.Manifest) { m.Plan = map[string]any{"hold": map[string]any{"seconds": 1e300}} },
		"NaN":     func(m *record.Manifest) { m.Plan = math.NaN() },
	} {
		m := manifest()
		change(&m)
		if _, err := Create(dir, m); err == nil {
			t.Errorf("manifest with a bad %s is written", name)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Fatalf("manifest with a bad %s leaves a folder behind", name)
		}
	}
	m := manifest()
	m.Seed = math.MaxUint64
	m.Plan = map[string]any{"seed": m.Seed, "name": "prüfung"}
	w, err := Create(dir, m)
	must(t, err)
	odd := []func(*record.Trial){
		func(t *record.Trial) { t.PerConnection.RSSBytes = new(math.NaN()) },
		func(t *record.Trial) { t.PerConnection.RSSBytes = new(math.Inf(1)) },
		func(t *record.Trial) { t.PerConnection.RSSBytes = new(1e30) },
		func(t *record.Trial) { t.Connections.Reached = -1 },
		func(t *record.Trial) { t.Stop.Reason = "odd" },
		func(t *record.Trial) { t.Stop.Evidence = []string{strings.Repeat("x", maxTextBytes+1)} },
		func(t *record.Trial) { t.Steps = make([]record.Step, maxListed+1) },
		func(t *record.Trial) { t.Valid = false },
	}
	for i, change := range odd {
		bad := trial(i + 1)
		change(&bad)
		filed, err := w.AppendTrial(bad)
		must(t, err)
		if filed.Valid || len(filed.Invalid) != 1 || filed.Variant != "goroutine" || filed.Connections.Target != 1000 || filed.PerConnection.RSSBytes != nil {
			t.Errorf("bad trial %d is filed as %+v", i+1, filed)
		}
		must(t, w.AppendSample(record.Sample{Trial: i + 1}))
		must(t, w.AppendSample(record.Sample{Trial: 0}))
		must(t, w.AppendSample(record.Sample{Trial: i + 1, Seconds: math.NaN()}))
	}
	_, err = w.AppendTrial(trial(99))
	must(t, err)
	must(t, w.Close())
	run, err := Open(dir)
	must(t, err)
	if len(run.Trials) != len(odd)+1 || !run.Trials[len(odd)].Valid {
		t.Errorf("%d trials", len(run.Trials))
	}
	if list, err := samples(run); err != nil || len(list) != len(odd) {
		t.Errorf("%d samples, %v", len(list), err)
	}
}

// What a full disk took of a line must not spoil the line after it.
func TestTornWriteIsTakenBack(t *testing.T) {
	var before syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before))
	file, err := create(t.TempDir(), record.TrialsFile)
	must(t, err)
	defer file.Close()
	must(t, appendWhole(file, []byte("first\n")))
	// A file size limit cuts a write short just as a full disk does (setrlimit(2);
	// Go ignores SIGXFSZ).
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 10, Max: before.Max}))
	err = appendWhole(file, []byte("second line\n"))
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before))
	if err == nil {
		t.Fatal("a write beyond the limit succeeded")
	}
	must(t, appendWhole(file, []byte("third\n")))
	text, err := os.ReadFile(file.Name())
	must(t, err)
	if string(text) != "first\nthird\n" {
		t.Errorf("file holds %q", text)
	}
}

func TestMalformedRunIsNamedByFileAndLine(t *testing.T) {
	whole, err := json.Marshal(func() record.Trial { t := trial(2); t.Schema = record.Schema; fillLists(&t); return t }())
	must(t, err)
	with := func(old, new string) string {
		changed := strings.Replace(string(whole), old, new, 1)
		if changed == string(whole) {
			t.Fatalf("%q is not in a trial", old)
		}
		return changed
	}
	for _, test := range []struct{ line, want string }{
		{`{"schema":1`, "not JSON"},
		{`[]`, "does not fit"},
		{`{}`, "schema is missing"},
		{with(`"schema":1`, `"schema":99`), "schema 99 is newer than the 1 that this connbench reads: update connbench"},
		{with(`"schema":1`, `"schema":0`), "schema is 0"},
		{with(`"trial":2`, `"trial":1`), "trial 1 is in line 1 already"},
		{with(`"trial":2`, `"trial":0`), "trial: 0 is less than 1"},
		{with(`"target":1000`, `"target":"many"`), "connections.target: string does not fit (int)"},
		{with(`"target":1000`, `"target":-5`), "connections.target: -5 is less than 1"},
		{with(`"valid":true`, `"vaild":true`), `unknown field "vaild"`},
		{with(`"valid":true`, `"valid":false`), "must say why"},
		{with(`"reason":"target"`, `"reason":"<b>"`), `stop.reason: "<b>" is none of`},
		{with(`"variant":"goroutine"`, `"variant":"a|b<script>"`), "variant: \"a|b<script>\" is not a name"},
		{with(`9214.5`, `1e300`), "per_connection.rss_bytes: 1e+300 is beyond"},
		{with(`9214.5`, `1e999`), "per_connection.rss_bytes: number 1e999 does not fit"},
		{with(`"title":""`, `"title":"`+strings.Repeat("x", maxTextBytes+1)+`"`), "title: text is longer"},
		{with(`"warnings":[]`, `"warnings":[`+strings.Repeat(`"",`, maxListed)+`""]`), "warnings: list has more than"},
		{string(whole) + "{}", "after top-level value"},
		{strings.Repeat(" ", maxTrialBytes+1), "line is longer than"},
	} {
		dir := written(t)
		path := filepath.Join(dir, record.TrialsFile)
		text, err := os.ReadFile(path)
		must(t, err)
		text = append(text[:bytes.IndexByte(text, '\n')+1], test.line+"\n"...)
		must(t, os.WriteFile(path, text, 0o644))
		_, err = Open(dir)
		if err == nil || !strings.HasPrefix(err.Error(), path+":2: ") || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.80s\ngives %v,\nwant %s:2: … %s", test.line, err, record.TrialsFile, test.want)
		}
	}
}

func TestMalformedManifest(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "not JSON",
		`{"schema":2}`:                  "newer",
		`{"schema":1,"state":"<i>"}`:    "state:",
		`{"schema":1,"state":"failed"}`: `lab: "" is not a name`,
		`{"schema":1,"state":"failed","lab":"x","variants":[{"name":"../../etc"}]}`: "variants[0].name",
		strings.Repeat(" ", maxManifestBytes+1):                                     "is larger than",
	} {
		dir := written(t)
		must(t, os.WriteFile(filepath.Join(dir, record.ManifestFile), []byte(text), 0o644))
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), record.ManifestFile) {
			t.Errorf("%.60s: %v, want %s", text, err, want)
		}
	}
}

func TestWhatIsNoRun(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "it has no manifest.json") {
		t.Errorf("empty folder: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "there is no run") {
		t.Errorf("no folder: %v", err)
	}
	run := written(t)
	for _, name := range []string{record.ManifestFile, record.TrialsFile} {
		must(t, os.Remove(filepath.Join(run, name)))
		must(t, syscall.Mkfifo(filepath.Join(run, name), 0o644)) // reading it would never end
		if _, err := Open(run); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s is a pipe: %v", name, err)
		}
		must(t, os.Remove(filepath.Join(run, name)))
		must(t, os.Symlink("/etc/hostname", filepath.Join(run, name)))
		if _, err := Open(run); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s is a link: %v", name, err)
		}
		fresh, err := os.ReadFile(filepath.Join(written(t), name))
		must(t, err)
		must(t, os.Remove(filepath.Join(run, name)))
		must(t, os.WriteFile(filepath.Join(run, name), fresh, 0o644))
	}
}

func TestHostileSamples(t *testing.T) {
	dir := written(t)
	run, err := Open(dir)
	must(t, err)
	var packed bytes.Buffer
	bomb := gzip.NewWriter(&packed)
	for range 100 {
		_, err := bomb.Write(make([]byte, maxSampleBytes))
		must(t, err)
	}
	must(t, bomb.Close())
	for want, text := range map[string][]byte{
		"line is longer than": packed.Bytes(),
		"gzip":                []byte("plain text"),
	} {
		must(t, os.WriteFile(filepath.Join(dir, record.SamplesFile), text, 0o644))
		if _, err := samples(run); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), record.SamplesFile) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A small file that unpacks to a large one is read no further than a run's could be;
// what the writer itself writes is read, however alike its samples are.
func TestSamplesThatUnpackToMuch(t *testing.T) {
	dir := written(t)
	run, err := Open(dir)
	must(t, err)
	var packed bytes.Buffer
	bomb := gzip.NewWriter(&packed)
	line, err := json.Marshal(record.Sample{Trial: 1, Phase: "ramp"})
	must(t, err)
	for range 20_000 {
		_, err := bomb.Write(append(line, '\n'))
		must(t, err)
	}
	must(t, bomb.Close())
	must(t, os.WriteFile(filepath.Join(dir, record.SamplesFile), packed.Bytes(), 0o644))
	list, err := samples(run)
	if err == nil || !strings.Contains(err.Error(), "file holds more than") || len(list) > (1<<20+maxRatio*packed.Len())/len(line) {
		t.Errorf("%d bytes give %d samples, %v", packed.Len(), len(list), err)
	}

	dir = filepath.Join(t.TempDir(), "run")
	w, err := Create(dir, manifest())
	must(t, err)
	const alike = 30_000
	for range alike {
		must(t, w.AppendSample(record.Sample{Trial: 1, Phase: "ramp"}))
	}
	must(t, w.Close())
	run, err = Open(dir)
	must(t, err)
	if list, err := samples(run); len(list) != alike || err != nil {
		t.Errorf("%d samples, %v", len(list), err)
	}
}

func FuzzOpen(f *testing.F) {
	line, err := json.Marshal(trial(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(line, '\n'))
	f.Add([]byte(fmt.Sprintf("%s\n%s", line, line[:len(line)/2])))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), record.TrialsFile)
		must(t, os.WriteFile(path, text, 0o644))
		run, err := Open(path)
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("error of several lines: %q", err)
		}
		if err == nil && run == nil {
			t.Error("neither run nor error")
		}
	})
}

func TestPackedTrialsAreRead(t *testing.T) {
	dir := written(t)
	plain, err := Open(dir)
	must(t, err)
	for range 2 { // the second time there is nothing to do
		must(t, PackTrials(dir))
		packed, err := Open(dir)
		must(t, err)
		if !reflect.DeepEqual(packed, plain) {
			t.Errorf("read are\n%+v, want\n%+v", packed, plain)
		}
	}
	file := filepath.Join(dir, record.TrialsFile+record.Packed)
	if alone, err := Open(file); err != nil || !reflect.DeepEqual(alone.Trials, plain.Trials) {
		t.Errorf("the packed file alone: %+v, %v", alone, err)
	}
	must(t, os.Remove(file))
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), record.TrialsFile+": no such file") {
		t.Errorf("without trials: %v", err)
	}
}

// A small file that unpacks to a large one is read no further than a run's could be.
func TestTrialsThatUnpackToMuch(t *testing.T) {
	dir := written(t)
	var packed bytes.Buffer
	bomb := gzip.NewWriter(&packed)
	blank := append(bytes.Repeat([]byte(" "), 1<<10), '\n')
	for range 64 << 10 {
		_, err := bomb.Write(blank)
		must(t, err)
	}
	must(t, bomb.Close())
	must(t, os.WriteFile(filepath.Join(dir, record.TrialsFile+record.Packed), packed.Bytes(), 0o644))
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "file holds more than") {
		t.Errorf("%d bytes: %v", packed.Len(), err)
	}
}
