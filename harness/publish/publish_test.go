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
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/record/recordtest"
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

var update = flag.Bool("update", false, "write the index of the published runs anew")

// The index of the published runs is that of the present code, and its page is small.
func TestIndexIsCurrent(t *testing.T) {
	const published = "../../results"
	if *update {
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
