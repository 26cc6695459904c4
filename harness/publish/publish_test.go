package publish

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"connbench/harness/explorer"
	"connbench/harness/phase/loads"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/record/recordtest"
	"connbench/harness/report"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put publishes a run.
func put(dir, into string) error {
	_, err := Publish(dir, into, nil)
	return err
}

func small() recordtest.Options {
	o := recordtest.Default
	o.Rounds = 1
	return o
}

// results is a folder with the documentation that the repository has.
func results(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile("../../results/README.md")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "README.md"), text, 0o644))
	return dir
}

func TestSoundRunIsPublishedAndIndexed(t *testing.T) {
	into := results(t)
	dir := filepath.Join(t.TempDir(), "2026-03-01-local-full")
	must(t, os.Rename(recordtest.Write(t, small()), dir))
	must(t, os.Rename(recordtest.Write(t, small()), filepath.Join(into, "2026-03-02-local-unpublished")))
	must(t, put(dir, into))
	if runs, err := Published(into); err != nil || len(runs) != 1 || runs[0].Manifest.Published == nil {
		t.Fatalf("%d published runs, %v", len(runs), err)
	}
	target := filepath.Join(into, "2026-03-01-local-full")
	if run, err := folder.Open(target); err != nil || len(run.Trials) != 5 {
		t.Fatal(err)
	}
	if strange := notPublished(t, target); len(strange) > 0 {
		t.Errorf("published are %q", strange)
	}
	text, err := os.ReadFile(filepath.Join(into, "README.md"))
	must(t, err)
	for _, want := range []string{"Made-up CPU @ 3.00GHz", "(./2026-03-01-local-full/tables.md)", "## The files of a run"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the index lacks %s", want)
		}
	}
	page, err := os.ReadFile(filepath.Join(into, explorer.File))
	must(t, err)
	if !strings.Contains(string(page), "goroutine/tuned") {
		t.Error("the page over all runs lacks the run")
	}
	if strings.Contains(string(text)+string(page), "unpublished") {
		t.Error("the index has a run that was not published")
	}
	must(t, WriteIndex(into))
	again, err := os.ReadFile(filepath.Join(into, "README.md"))
	must(t, err)
	if string(again) != string(text) {
		t.Error("a second index differs from the first")
	}
}

// The times of emulated CPUs are nobody's: the index says whose they are.
func TestEmulationIsIndexed(t *testing.T) {
	into := results(t)
	o := small()
	o.ChangeManifest = func(m *record.Manifest) { m.Hosts[0].Emulated = true }
	dir := filepath.Join(t.TempDir(), "2026-03-01-vagrant-vagrant")
	must(t, os.Rename(recordtest.Write(t, o), dir))
	must(t, put(dir, into))
	text, err := os.ReadFile(filepath.Join(into, "README.md"))
	must(t, err)
	if n := strings.Count(string(text), "GiB, emulated |"); n != 1 {
		t.Errorf("the index says it in %d rows", n)
	}
}

var update = flag.Bool("update", false, "write the reports of the published runs and their index anew")

// The index of the published runs is that of the present code, and its page is small.
func TestIndexIsCurrent(t *testing.T) {
	const published = "../../results"
	if *update {
		runs, err := Published(published)
		must(t, err)
		for _, run := range runs {
			must(t, report.WritePublished(run))
		}
		must(t, WriteIndex(published))
	}
	readme, page, err := pages(published)
	must(t, err)
	for file, want := range map[string][]byte{readmeFile: readme, explorer.File: page} {
		got, err := os.ReadFile(filepath.Join(published, file))
		must(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("results/%s is not what the code writes: run make docs", file)
		}
	}
	if most := 400_000; len(page) > most {
		t.Errorf("the page over all runs has %d bytes, more than %d", len(page), most)
	}
}

func TestWhatMayNotBePublished(t *testing.T) {
	for name, test := range map[string]struct {
		change   func(*record.Trial)
		manifest func(*record.Manifest)
		want     string
	}{
		"interrupted": {manifest: func(m *record.Manifest) { m.State = record.StateInterrupted }, want: "only a finished run"},
		"incomplete":  {manifest: func(m *record.Manifest) { m.Planned++ }, want: "5 of 6 planned trials"},
		"invalid":     {change: func(t *record.Trial) { t.Valid, t.Invalid = false, []string{"census"} }, want: "is invalid: census"},
		"changed":     {manifest: func(m *record.Manifest) { m.Connbench = "abc1234 and changes" }, want: "build it from a commit"},
		"no CPU":      {manifest: func(m *record.Manifest) { m.Hosts[0].CPUModel = "" }, want: "cpu_model of host local is missing"},
		"home":        {manifest: func(m *record.Manifest) { m.Command = "make bench RESULTS=/home/anna/x" }, want: "the path /home/anna/x"},
		"evidence":    {change: func(t *record.Trial) { t.Stop.Evidence = []string{"open /srv/secret: denied"} }, want: "trial 1 names the path /srv/secret"},
	} {
		o := small()
		o.Change, o.ChangeManifest = test.change, test.manifest
		problems := strings.Join(Check(recordtest.Read(o), nil), "\n")
		if !strings.Contains(problems, test.want) {
			t.Errorf("%s: %q, want %s", name, problems, test.want)
		}
	}
}

func TestNamesAreFoundAndMayBeAllowed(t *testing.T) {
	o := small()
	o.ChangeManifest = func(m *record.Manifest) { m.Title = "on Anna's box-7"; m.Command = "cat /proc/meminfo" }
	run := recordtest.Read(o)
	if problems := private(run, nil, []string{"anna", "box-7"}); len(problems) != 2 {
		t.Errorf("%q", problems)
	}
	if problems := private(run, []string{"Anna's box-7"}, []string{"anna", "box-7"}); len(problems) != 0 {
		t.Errorf("allowed: %q", problems)
	}
}

func TestHostileTextsStayTextsInTheIndex(t *testing.T) {
	into := results(t)
	o := small()
	o.ChangeManifest = func(m *record.Manifest) { m.Hosts[0].CPUModel, m.Published = "<script>x</script>|[a](b)", m.Finished }
	must(t, os.Rename(recordtest.Write(t, o), filepath.Join(into, "run](x) <b>")))
	must(t, WriteIndex(into))
	text, err := os.ReadFile(filepath.Join(into, "README.md"))
	must(t, err)
	if !strings.Contains(string(text), "script") {
		t.Fatal("the index lacks the run")
	}
	for _, bad := range []string{"<script", "<b>", "[a](b)", "[run](x)"} {
		if strings.Contains(string(text), bad) {
			t.Errorf("the index has %s", bad)
		}
	}
}

// What lies beside the files of a run is not published with them, nor a run whose
// samples were cut off.
func TestFolderHoldsTheRunAlone(t *testing.T) {
	for want, spoil := range map[string]func(dir string) error{
		`"run.sh", which is no file of a run`: func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "run.sh"), nil, 0o755)
		},
		`"bench.txt", which is no file of a run`: func(dir string) error {
			return os.Symlink("/proc/self/environ", filepath.Join(dir, "bench.txt"))
		},
		`"plots", which is no file of a run`: func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "plots"), nil, 0o644)
		},
		"nothing of trial 5": func(dir string) error {
			samples := filepath.Join(dir, record.SamplesFile)
			info, err := os.Stat(samples)
			if err != nil {
				return err
			}
			return os.Truncate(samples, info.Size()/2)
		},
	} {
		into, dir := results(t), filepath.Join(t.TempDir(), "2026-03-01-local-full")
		must(t, os.Rename(recordtest.Write(t, small()), dir))
		must(t, spoil(dir))
		if err := put(dir, into); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("the folder was moved all the same: %v", err)
		}
	}
}

func TestBrokenRunIsNamed(t *testing.T) {
	into := results(t)
	dir := filepath.Join(into, "broken")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, record.ManifestFile), []byte("{"), 0o644))
	if err := WriteIndex(into); err == nil || !strings.Contains(err.Error(), "broken/manifest.json") {
		t.Errorf("%v", err)
	}
}

// notPublished are the files below a folder that no published run has.
func notPublished(t *testing.T, dir string) (strange []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !published.MatchString(path) {
			strange = append(strange, path)
		}
		return err
	})
	must(t, err)
	return strange
}

var published = regexp.MustCompile(`/(manifest\.json|trials\.jsonl\.gz|samples\.jsonl\.gz|tables\.md|index\.html|plots/[^/]+\.svg)$`)

// What the repository holds of published runs is raw, or read by people on a code host, and
// takes no more than 15 MB.
func TestPublishedRunsAreSmall(t *testing.T) {
	list, err := exec.Command("git", "ls-files", "-z", "../../results").Output()
	if err != nil {
		t.Skip("needs the files that git knows:", err)
	}
	var sum int64
	for path := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		sum += info.Size()
		if _, err := os.Stat(filepath.Join("../../results", strings.Split(path, "/")[3], record.ManifestFile)); err == nil && !published.MatchString(path) {
			t.Errorf("%s is published", path)
		}
	}
	if most := int64(15_000_000); sum > most {
		t.Errorf("results/ takes %d bytes, of %d", sum, most)
	}
}

// sound is a run that agrees with itself: made-up percentiles are not those of the made-up
// histograms.
func sound() recordtest.Options {
	o := small()
	o.ChangeManifest = func(m *record.Manifest) {
		for i := range m.Variants {
			m.Variants[i].SHA256 = strings.Repeat("a", 64)
		}
	}
	o.Change = func(t *record.Trial) {
		for _, load := range []*record.Load{loads.Echo.Of(t), loads.Saturate.Of(t)} {
			latency, err := record.ReadLatency(load.Histogram)
			if err != nil {
				panic(err)
			}
			load.Latency = *latency
		}
	}
	return o
}

// submitted is a published run that somebody sends.
func submitted(t *testing.T, o recordtest.Options) (dir, into string) {
	t.Helper()
	into = results(t)
	for _, schema := range []string{"manifest.schema.json", "trial.schema.json", "sample.schema.json"} {
		text, err := os.ReadFile(filepath.Join("../../results", schema))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(into, schema), text, 0o644))
	}
	dir = filepath.Join(t.TempDir(), "2026-03-01-local-full")
	must(t, os.Rename(recordtest.Write(t, o), dir))
	must(t, put(dir, into))
	return filepath.Join(into, filepath.Base(dir)), into
}

func TestSubmissions(t *testing.T) {
	dir, into := submitted(t, sound())
	problems, err := Verify(dir, into)
	if err != nil || len(problems) > 0 {
		t.Errorf("a sound run: %q, %v", problems, err)
	}
	for want, spoil := range map[string]func(dir string) error{
		"tables.md is not what the raw files come to": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "tables.md"), []byte("| goroutine | 1 |"), 0o644)
		},
		"plots": func(dir string) error { return os.RemoveAll(filepath.Join(dir, "plots")) },
		`"extra.sh", which is no file of a run`: func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "extra.sh"), nil, 0o755)
		},
		"trials.jsonl.gz": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "trials.jsonl.gz"), []byte("no gzip"), 0o644)
		},
		"manifest.json: ": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(`{"schema": 1}`), 0o644)
		},
	} {
		dir, into := submitted(t, sound())
		must(t, spoil(dir))
		problems, err := Verify(dir, into)
		if err != nil || !strings.Contains(strings.Join(problems, "\n"), want) {
			t.Errorf("%q, %v, want %s", problems, err, want)
		}
	}
}

// Figures changed by hand contradict the rest of the record.
func TestWitnesses(t *testing.T) {
	for want, change := range map[string]func(*record.Trial){
		"by the points of the ramp": func(t *record.Trial) { *t.PerConnection.RSSBytes /= 2 },
		"by the histogram": func(t *record.Trial) {
			l := loads.Echo.Of(t)
			l.P99US, l.P999US, l.MaxUS = l.P99US*3, l.P999US*3, l.MaxUS*3
		},
		"percentiles fall": func(t *record.Trial) { loads.Echo.Of(t).P50US = 1e9 },
		"by the kernel's census": func(t *record.Trial) {
			t.Connections.Census.Kernel = new(*t.Connections.Census.Kernel - 1)
		},
		"at the peak":          func(t *record.Trial) { t.Connections.Peak = t.Connections.Reached - 1 },
		"s of CPU time within": func(t *record.Trial) { t.Phases[0].ServerCPUSeconds = new(1e6) },
		"PSS is above RSS":     func(t *record.Trial) { t.Steps[1].PSSBytes = new(*t.Steps[1].RSSBytes * 2) },
		"are not":              func(t *record.Trial) { loads.Echo.Of(t).DeliveredPerSecond *= 2 },
	} {
		o := sound()
		agree := o.Change
		o.Change = func(t *record.Trial) {
			agree(t)
			change(t)
		}
		if problems := strings.Join(implausible(recordtest.Read(o)), "\n"); !strings.Contains(problems, want) {
			t.Errorf("%q, want %s", problems, want)
		}
	}
	if problems := implausible(recordtest.Read(sound())); len(problems) > 0 {
		t.Errorf("a sound run: %q", problems)
	}
}
