package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/perf/benchfmt"

	"connbench/harness/cause"
	"connbench/harness/figure"
	"connbench/harness/overview"
	"connbench/harness/phase/connections"
	"connbench/harness/phase/loads"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/record/recordtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func opened(t *testing.T, o recordtest.Options) *record.Run {
	t.Helper()
	run, err := folder.Open(recordtest.Write(t, o))
	must(t, err)
	return run
}

func printed(t *testing.T, run *record.Run, width int) string {
	t.Helper()
	var out bytes.Buffer
	must(t, Print(&out, run, width))
	return out.String()
}

func markdownOf(t *testing.T, run *record.Run) string {
	t.Helper()
	var out bytes.Buffer
	must(t, writeMarkdown(&out, run, nil))
	return out.String()
}

// wants fails for each text that is missing.
func wants(t *testing.T, in string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(in, text) {
			t.Errorf("missing: %s\nin:\n%s", text, in)
		}
	}
}

// The whole report of a run with every kind of remark, to be looked at:
// go test ./harness/report -update writes it anew.
func TestGolden(t *testing.T) {
	o := recordtest.Default
	o.Change = func(trial *record.Trial) {
		switch trial.Trial {
		case 4:
			trial.Valid, trial.Invalid = false, []string{"census: swarm 10,000, server 9,998, kernel 9,998"}
		case 7:
			trial.Noisy, trial.Warnings = true, []string{"steal: 4.2% of the CPUs used were taken by the hypervisor"}
		}
		if trial.Variant == "gobwas-epoll" {
			trial.PerConnection.LiveHeapBytes = nil
			trial.Warnings = append(trial.Warnings, "live_heap_bytes: the server does not report it")
		}
		if trial.Variant == "nbio" {
			trial.Connections.Reached = 9000 + trial.Round
			trial.Stop.Reason = cause.ServerDescriptors.Reason
		}
	}
	o.ChangeManifest = func(m *record.Manifest) {
		m.Planned++
		m.State = record.StateInterrupted
		no := false
		m.Variants = append(m.Variants, record.Variant{Name: "broken", Class: "tuned", Model: "threads", Conforms: &no})
	}
	run := recordtest.Read(o)
	for name, got := range map[string]string{"tables.md": markdownOf(t, run), "tables.txt": printed(t, run, 120)} {
		golden := filepath.Join("testdata", name)
		if *update {
			must(t, os.MkdirAll("testdata", 0o755))
			must(t, os.WriteFile(golden, []byte(got), 0o644))
		}
		want, err := os.ReadFile(golden)
		must(t, err)
		if got != string(want) {
			t.Errorf("%s is not as %s:\n%s", name, golden, got)
		}
	}
}

func TestEveryLineFitsTheTerminal(t *testing.T) {
	run := recordtest.Read(recordtest.Default)
	for _, width := range []int{60, 80, 100, 132, 200} {
		for line := range strings.Lines(printed(t, run, width)) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > width {
				t.Errorf("width %d: a line takes %d: %s", width, n, line)
			}
		}
	}
	whole := printed(t, run, math.MaxInt)
	if n := strings.Count(whole, "\n goroutine "); n != 5 {
		t.Errorf("without a bound, tables were cut:\n%s", whole)
	}
}

func TestWhatIsWithinTheNoiseBearsOneLetter(t *testing.T) {
	table := overview.Tables(recordtest.Read(recordtest.Default))[1] // what a connection costs
	ties := map[string]string{}
	for _, row := range table.Rows {
		for i, c := range row {
			ties[row[0].Text+" "+table.Columns[i].Title] = c.Ties
		}
	}
	for cell, want := range map[string]string{
		"goroutine RSS": "", "floor RSS": "",
		"floor kernel": "a", "goroutine kernel": "a",
		"gnet settled RSS": "a", "gobwas-epoll settled RSS": "a", "nbio settled RSS": "",
	} {
		if ties[cell] != want {
			t.Errorf("%s: letters %q, want %q", cell, ties[cell], want)
		}
	}
}

func TestTooFewRoundsClaimNothing(t *testing.T) {
	o := recordtest.Default
	o.Rounds = 1
	one := printed(t, recordtest.Read(o), math.MaxInt)
	wants(t, one, "One round: the spread of the figures is unknown", "with so few rounds that order may be chance")
	if strings.Contains(one, "±") || strings.Contains(one, " a │") {
		t.Errorf("one round has no spread and no letters:\n%s", one)
	}
	o.Rounds = 2
	wants(t, printed(t, recordtest.Read(o), math.MaxInt), "Medians of 2 rounds; ± spans all of them", "Too few to tell which figures differ")
	o.Rounds = 3
	wants(t, printed(t, recordtest.Read(o), math.MaxInt), "Medians of 3 rounds; ± spans all of them", "(gobwas-epoll")
}

func TestRunWithoutAValidTrial(t *testing.T) {
	o := recordtest.Default
	o.Rounds = 1
	o.Change = func(trial *record.Trial) {
		trial.Valid, trial.Invalid = false, []string{"the server never got ready"}
		connections.Ramp.Of(trial).Handshake = nil
		loads.Echo.Set(trial, nil)
		loads.Saturate.Set(trial, nil)
	}
	run := opened(t, o)
	wants(t, printed(t, run, 100), "No trial of this run is valid", "0 of 1", "all trials: the server never got ready")
	must(t, Write(run))
}

func TestKilledRunSaysSo(t *testing.T) {
	o := recordtest.Default
	o.ChangeManifest = func(m *record.Manifest) { m.State, m.Finished, m.Planned = record.StateRunning, nil, 40 }
	wants(t, printed(t, recordtest.Read(o), 100), "The run has not ended, or was killed: 30 of 40 trials are here.")
}

// Texts of a record come from whoever made it.
func TestTextsOfARecordStayTexts(t *testing.T) {
	const hostile = "<script>alert(1)</script> | [x](http://example.invalid) `a` **b** \x1b[31mred\u202e\nnew line"
	o := recordtest.Default
	o.Rounds = 1
	o.Change = func(trial *record.Trial) {
		trial.Model, trial.Noisy, trial.Warnings = hostile, true, []string{hostile}
	}
	o.ChangeManifest = func(m *record.Manifest) {
		m.Title, m.Command, m.GoVersion, m.Limit, m.Warnings = hostile, hostile, hostile, hostile, []string{hostile}
		m.Hosts[0].CPUModel, m.Hosts[0].Kernel = hostile, hostile
	}
	run := opened(t, o)
	text, _, _ := strings.Cut(markdownOf(t, run), "## To repeat it") // a code block there
	for _, bad := range []string{"<script", "x](", " **b", "\x1b", "\u202e", "://", "\nnew line", " `a`"} {
		if strings.Contains(text, bad) {
			t.Errorf("Markdown has %q:\n%s", bad, text)
		}
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "| gnet") && strings.Contains(line, "script") && strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") != 11 {
			t.Errorf("a cell broke the table: %s", line)
		}
	}
	for _, bad := range []string{"\x1b", "\u202e", "\nnew line"} {
		if strings.Contains(printed(t, run, 100), bad) {
			t.Errorf("terminal gets %q", bad)
		}
	}
	must(t, Write(run))
	if text, err := os.ReadFile(filepath.Join(run.Dir, BenchFile)); err != nil || strings.Contains(string(text), "\nnew line") {
		t.Errorf("benchmark text has a line of the record's: %s, %v", text, err)
	}
}

// A spreadsheet that opens the CSV files computes nothing, and finds numbers where
// they are.
func TestSpreadsheetsComputeNothing(t *testing.T) {
	o := recordtest.Default
	o.Rounds = 1
	o.Change = func(trial *record.Trial) {
		trial.Model, trial.Library, trial.Title = "=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0"
		trial.PerConnection.RSSBytes = new(-5.5)
	}
	run := opened(t, o)
	must(t, Write(run))
	for _, name := range []string{TablesCSVFile, TrialsCSVFile, SamplesCSVFile} {
		file, err := os.Open(filepath.Join(run.Dir, name))
		must(t, err)
		rows, err := csv.NewReader(file).ReadAll()
		file.Close()
		must(t, err)
		negative, quoted := false, false
		for _, row := range rows {
			for _, cell := range row {
				if _, err := strconv.ParseFloat(cell, 64); err == nil {
					negative = negative || cell == "-5.5"
				} else if cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) {
					t.Errorf("%s: cell %q", name, cell)
				}
				quoted = quoted || cell == "'=1+1"
			}
		}
		if name == TrialsCSVFile && (!negative || !quoted) {
			t.Errorf("%s has no -5.5, or no '=1+1", name)
		}
	}
}

func TestBenchmarkTextIsReadBack(t *testing.T) {
	o := recordtest.Default
	o.Change = func(trial *record.Trial) {
		if trial.Trial == 3 {
			trial.Valid, trial.Invalid = false, []string{"for the test"}
		}
		if trial.Variant == "floor" {
			trial.PerConnection.StackBytes = nil
		}
	}
	run := recordtest.Read(o)
	var text bytes.Buffer
	must(t, writeBench(&text, run))
	reader := benchfmt.NewReader(&text, BenchFile)
	var valid []record.Trial
	for _, trial := range run.Trials {
		if trial.Valid {
			valid = append(valid, trial)
		}
	}
	n := 0
	for reader.Scan() {
		switch line := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Fatal(line)
		case *benchfmt.Result:
			trial := valid[n]
			n++
			_, parts := line.Name.Parts()
			if len(parts) != 3 || string(parts[0]) != "/variant="+trial.Variant || line.Iters != trial.Connections.Reached {
				t.Errorf("line %d is %s %d", n, line.Name, line.Iters)
			}
			if rss, ok := line.Value("rss-B/conn"); !ok || rss != *trial.PerConnection.RSSBytes {
				t.Errorf("line %d: RSS is %v, want %v", n, rss, *trial.PerConnection.RSSBytes)
			}
			// The reader brings ns to seconds.
			if p99, ok := line.Value("echo-p99-sec"); !ok || math.Abs(p99-loads.Echo.Of(&trial).P99US/1e6) > 1e-12 {
				t.Errorf("line %d: p99 is %v s, want %v µs", n, p99, loads.Echo.Of(&trial).P99US)
			}
			// The others' stacks do not grow by connections.
			if _, ok := line.Value("stack-B/conn"); ok != (trial.Variant == "goroutine") {
				t.Errorf("line %d: %s has a stack: %v", n, trial.Variant, ok)
			}
			for key, want := range map[string]string{"goos": "linux", "goarch": "amd64", "cpu": "Made-up CPU @ 3.00GHz", "plan": "full", "lab": "local"} {
				if got := line.GetConfig(key); got != want {
					t.Errorf("line %d: %s is %q", n, key, got)
				}
			}
		}
	}
	must(t, reader.Err())
	if n != len(valid) || n != 29 {
		t.Errorf("%d lines, want one for each of %d valid trials", n, len(valid))
	}
	for unit, better := range map[string]int{"rss-B/conn": -1, "echo-p99-sec": -1, "ramp-connects/s": 1, "connections-reached": 1} {
		if got := reader.Units().GetBetter(unit); got != better {
			t.Errorf("%s: better is %d, want %d", unit, got, better)
		}
	}
}

func TestBenchmarkUnitsAreDistinct(t *testing.T) {
	seen := map[string]string{}
	for _, f := range figure.All() {
		unit := benchUnit(f)
		if other, twice := seen[unit]; twice {
			t.Errorf("%s and %s are both %s", f.Name, other, unit)
		}
		seen[unit] = f.Name
	}
}

// The curve is in every form of the report.
func TestComplexity(t *testing.T) {
	o := recordtest.Default
	o.Change = recordtest.Complexity
	run := opened(t, o)
	must(t, Write(run))
	for file, want := range map[string]string{
		TablesFile: "## Complexity", BenchFile: " complexity-kept-10us", TrialsCSVFile: "complexity.kept.10us",
		TablesCSVFile: "complexity.kept.10us,conn,higher", PageFile: "Active connections kept as a message takes more work",
		filepath.Join(PlotsFolder, "complexity.svg"): "<svg",
	} {
		text, err := os.ReadFile(filepath.Join(run.Dir, file))
		must(t, err)
		if !strings.Contains(string(text), want) {
			t.Errorf("%s does not hold %q", file, want)
		}
	}
	last := overview.Summary(run)[len(overview.Summary(run))-1]
	if !strings.HasPrefix(last, "With 1000 µs of work a message, ") {
		t.Errorf("the answer ends with %q", last)
	}
}

func readCSV(t *testing.T, path string) (rows []map[string]string) {
	t.Helper()
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	all, err := csv.NewReader(file).ReadAll()
	must(t, err)
	for _, fields := range all[1:] {
		row := map[string]string{}
		for i, column := range all[0] {
			if _, twice := row[column]; twice {
				t.Fatalf("%s: two columns %s", path, column)
			}
			row[column] = fields[i]
		}
		rows = append(rows, row)
	}
	return rows
}

func TestCSV(t *testing.T) {
	o := recordtest.Default
	o.Change = func(trial *record.Trial) {
		if trial.Variant == "nbio" {
			trial.CPU["idle_cores"] = nil
			loads.Saturate.Set(trial, nil)
		}
	}
	run := opened(t, o)
	must(t, Write(run))
	tables := readCSV(t, filepath.Join(run.Dir, TablesCSVFile))
	if len(tables) != len(figure.All())*5 {
		t.Errorf("%s has %d rows", TablesCSVFile, len(tables))
	}
	for _, row := range tables {
		switch {
		case row["variant"] == "nbio" && row["figure"] == "cpu.idle_cores":
			if row["median"] != "" || row["rounds"] != "0" {
				t.Errorf("what was not measured is %v", row)
			}
		case row["variant"] == "goroutine" && row["figure"] == "per_connection.rss_bytes":
			median, err := strconv.ParseFloat(row["median"], 64)
			if err != nil || median < 9000 || median > 9500 || row["best_place"] != "5" || row["worst_place"] != "5" || row["interval"] != "95%" {
				t.Errorf("goroutine's RSS is %v", row)
			}
		case row["variant"] == "floor" && row["figure"] == "ramp.connects_per_second" && row["best_place"] != "1":
			t.Errorf("the highest rate is not the first: %v", row)
		}
	}
	trials := readCSV(t, filepath.Join(run.Dir, TrialsCSVFile))
	if len(trials) != len(run.Trials) {
		t.Fatalf("%s has %d rows", TrialsCSVFile, len(trials))
	}
	for i, row := range trials {
		trial := run.Trials[i]
		saturated := ""
		if load := loads.Saturate.Of(&trial); load != nil {
			saturated = exact(load.DeliveredPerSecond)
		}
		for column, want := range map[string]string{
			"trial": strconv.Itoa(trial.Trial), "variant": trial.Variant, "valid": "true",
			"connections.census.swarm": "10000", "per_connection.rss_bytes": exact(*trial.PerConnection.RSSBytes),
			"fits.rss_bytes.low": exact(trial.Fits["rss_bytes"].Low), "echo.p99_us": exact(loads.Echo.Of(&trial).P99US),
			"saturate.delivered_per_second": saturated, "server_cpus": "0; 1",
		} {
			if got, ok := row[column]; !ok || got != want {
				t.Errorf("trial %d: %s is %q, want %q", trial.Trial, column, got, want)
			}
		}
		if _, ok := row["echo.histogram"]; ok {
			t.Fatal("histograms are in the CSV")
		}
	}
}

func TestWriteNamesWhatIsWrong(t *testing.T) {
	run := opened(t, recordtest.Default)
	trials, err := folder.Open(filepath.Join(run.Dir, record.TrialsFile))
	must(t, err)
	if err := Write(trials); err == nil || !strings.Contains(err.Error(), "is a file") {
		t.Errorf("Write of a file: %v", err)
	}
	must(t, os.Mkdir(filepath.Join(run.Dir, TablesFile), 0o755)) // in the way of a file
	if err := Write(run); err == nil || !strings.Contains(err.Error(), TablesFile+" cannot be written") {
		t.Errorf("Write into a folder that it cannot write: %v", err)
	}
}

func TestNoisyTrialsAreNamedWhetherTheyCountOrNot(t *testing.T) {
	o := recordtest.Default
	o.Change = func(trial *record.Trial) {
		switch trial.Trial {
		case 3, 4:
			trial.Noisy, trial.Warnings = true, []string{"other programs took 40 % of the CPUs' time"}
		case 30:
			trial.Repeats = 3
		}
	}
	text := markdownOf(t, recordtest.Read(o))
	_, left, _ := strings.Cut(text, "## Noisy trials, run again on a quieter host and left out of the tables")
	left, kept, found := strings.Cut(left, "## Noisy trials, kept in the tables")
	if !found || !strings.Contains(left, "trial 3 (") || strings.Contains(left, "trial 4 (") || !strings.Contains(kept, "trial 4 (") {
		t.Errorf("left out: %s\nkept: %s", left, kept)
	}
}

func TestGrowthHiddenByEarlierGarbageIsPointedOut(t *testing.T) {
	o := recordtest.Default
	o.Change = func(trial *record.Trial) {
		if trial.Variant == "gnet" {
			*trial.PerConnection.RSSBytes = float64(trial.Round-3) / 10 // about nothing, of either sign
		}
	}
	text := markdownOf(t, recordtest.Read(o))
	wants(t, text, "RSS of gnet grew by less than its connections keep")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "| gnet ") && strings.Contains(line, "-0.0") {
			t.Errorf("a multiple of nothing: %s", line)
		}
	}
	plain := markdownOf(t, recordtest.Read(recordtest.Default))
	if strings.Contains(plain, "grew by less") {
		t.Error("pointed out where nothing is hidden")
	}
}

func TestConnectionsAreSetAgainstMemoryWhereThatStoppedThem(t *testing.T) {
	o := recordtest.Default
	if text := markdownOf(t, recordtest.Read(o)); strings.Contains(text, "conn/GiB") {
		t.Errorf("no ramp was stopped by memory:\n%s", text)
	}
	o.Change = func(trial *record.Trial) {
		if trial.Variant == "gnet" { // on 16 GiB
			trial.Connections.Reached, trial.Stop.Reason = 6400, cause.MemoryReserve.Reason
		}
	}
	text := markdownOf(t, recordtest.Read(o))
	wants(t, text, "in memory, conn/GiB")
	for line := range strings.Lines(text) {
		switch cells := strings.Split(strings.ReplaceAll(line, " ", ""), "|"); {
		case strings.HasPrefix(line, "| gnet ") && strings.Contains(line, "memory reserve") && cells[8] != "400",
			strings.HasPrefix(line, "| floor ") && strings.Contains(line, "target") && cells[8] != "–":
			t.Errorf("connections per GiB: %s", line)
		}
	}
}

func TestHostsOnOneKernelAreOneMachine(t *testing.T) {
	o := recordtest.Default
	o.ChangeManifest = func(m *record.Manifest) {
		client := m.Hosts[0]
		m.Hosts[0].Roles, client.Roles = []string{record.RoleServer}, []string{record.RoleClient}
		m.Hosts = append(m.Hosts, client)
		m.SharedKernel = true
	}
	text := markdownOf(t, recordtest.Read(o))
	wants(t, text, "- Machine: ", "Kernel memory holds both ends of each connection")
	if strings.Contains(text, "- Machine (") {
		t.Errorf("one machine is told as several:\n%s", text)
	}
}

func TestEmulationIsSaidFirst(t *testing.T) {
	o := recordtest.Default
	o.ChangeManifest = func(m *record.Manifest) {
		client := m.Hosts[0]
		m.Hosts[0].Roles, m.Hosts[0].Emulated, client.Roles = []string{record.RoleServer}, true, []string{record.RoleClient}
		m.Hosts = append(m.Hosts, client)
	}
	run := recordtest.Read(o)
	text := markdownOf(t, run)
	wants(t, text, "(software emulation)", "not comparable with those of hardware; counts and bytes are", "emulated in software",
		"Kernel memory is the server's side alone: the server is alone on its kernel.")
	var printed bytes.Buffer
	if err := Print(&printed, run, 200); err != nil {
		t.Fatal(err)
	}
	wants(t, printed.String(), "Software emulation: ")
}

// A run with a budget answers with the connections that it held, and says whose
// kernel memory counts.
func TestBudgetIsTheAnswer(t *testing.T) {
	o := recordtest.Default
	o.ChangeManifest = func(m *record.Manifest) { m.SharedKernel, m.Lab = true, "netns" }
	o.Change = func(trial *record.Trial) {
		trial.Engine = record.EnginePacket
		trial.Stop.Reason = cause.Budget.Reason
		connections.Budget.Set(trial, &connections.BudgetRecord{Bytes: 1 << 30, SpentBytes: new(int64(1<<30 + 5000)), Connections: new(190_000.0)})
		if trial.Variant == "nbio" {
			trial.Stop.Reason, connections.Budget.Of(trial).Connections = cause.MemoryReserve.Reason, nil
		}
	}
	wants(t, markdownOf(t, recordtest.Read(o)), "in budget, conn", "190,000",
		"Connections within 1.00 GiB of memory: floor 190,000, gobwas-epoll 190,000, gnet 190,000, nbio not known (stopped by: memory reserve) and goroutine 190,000.",
		"Kernel memory is the server's side alone", "engine packet")
}

// What a history of commits tracks is of the present builds, and the smaller the better.
func TestTracking(t *testing.T) {
	o := recordtest.Default
	o.ChangeManifest = func(m *record.Manifest) { m.Variants[0].Commit = "abc1234" }
	run := recordtest.Read(o)
	var out bytes.Buffer
	must(t, writeTracking(&out, run))
	var list []tracked
	must(t, json.Unmarshal(out.Bytes(), &list))
	for _, entry := range list {
		if strings.HasPrefix(entry.Name, run.Manifest.Variants[0].Name+"/") || strings.Contains(entry.Name, "connect rate") {
			t.Errorf("%+v is tracked", entry)
		}
	}
	if i := slices.IndexFunc(list, func(e tracked) bool { return e.Name == "goroutine/tuned: RSS per connection" }); i < 0 ||
		list[i].Unit != "B/conn" || list[i].Value < 9000 || list[i].Value > 9400 || list[i].Extra != "6 rounds" || !strings.HasPrefix(list[i].Range, "±") {
		t.Errorf("%+v", list)
	}
}
