package explorer

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"connbench/harness/figure"
	_ "connbench/harness/phase/all"
	"connbench/harness/record"
	"connbench/harness/record/recordtest"
	"connbench/harness/stats"
	"connbench/harness/table"
	"connbench/harness/webpage/browsertest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// made is a run of a plan, so many days old.
func made(plan string, days int, change func(*record.Manifest), each func(*record.Trial)) *record.Run {
	o := recordtest.Default
	o.Seed = uint64(days) + 1
	o.ChangeManifest = func(m *record.Manifest) {
		m.Started = m.Started.AddDate(0, 0, -days)
		if change != nil {
			change(m)
		}
	}
	o.Change = func(trial *record.Trial) {
		trial.Plan = plan
		if each != nil {
			each(trial)
		}
	}
	run := recordtest.Read(o)
	run.Dir = fmt.Sprintf("/results/run-%d", days)
	return run
}

// three are the newest run, one of another machine, and one of another plan.
func three() []*record.Run {
	return []*record.Run{
		made("full", 1, nil, nil),
		made("full", 2, func(m *record.Manifest) { m.Hosts[0].CPUModel = "Other CPU" }, nil),
		made("million", 3, nil, nil),
	}
}

// filed writes the page of runs and returns its address.
func filed(t *testing.T, runs []*record.Run) string {
	t.Helper()
	text, err := Page(runs)
	must(t, err)
	file := filepath.Join(t.TempDir(), File)
	must(t, os.WriteFile(file, text, 0o644))
	return "file://" + file
}

func TestQuestionsNameFigures(t *testing.T) {
	seen := map[string]bool{}
	for _, q := range questions {
		if seen[q.ID] || len(q.Plans) == 0 || len(q.Figures) == 0 {
			t.Errorf("question %q is there twice, or asks for nothing", q.ID)
		}
		seen[q.ID] = true
		for _, name := range q.Figures {
			if _, err := figure.Find(name); err != nil && !strings.HasSuffix(name, ".") {
				t.Errorf("question %q: %v", q.ID, err)
			}
		}
	}
}

// Without script there is the answer to the first question, and a link to each run.
func TestPageWithoutScript(t *testing.T) {
	text, err := Page(three())
	must(t, err)
	for _, want := range []string{
		"Every variant held all 10,000 connections", `<th scope="row">goroutine/tuned</th>`, "RSS per connection", "Memory of an idle connection",
		`href="./run-3/index.html"`, "make bench PLAN=full",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for _, bad := range []string{"src=", "@import", "url(", "<link"} {
		if strings.Contains(string(text), bad) {
			t.Errorf("the page has %s", bad)
		}
	}
}

func TestPageWithoutRuns(t *testing.T) {
	if _, err := Page(nil); err != nil {
		t.Error(err)
	}
}

// run evaluates a script for what it does.
func run(script string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](script)
}

// media has the page believe that it is printed, or that its reader prefers something.
func media(params emulation.SetEmulatedMediaParams) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, params)
		return err
	})
}

func TestPageInABrowser(t *testing.T) {
	ctx := browsertest.Open(t)
	said := browsertest.Listen(ctx)
	address := filed(t, three())
	const rowNames = `[...document.querySelectorAll("#table tbody th")].map(e => e.firstChild.textContent).join(" ")`
	const heads = `[...document.querySelectorAll("#table thead button")].map(e => e.firstChild.textContent).join("; ")`
	visit := func(t *testing.T, hash string) {
		t.Helper()
		must(t, chromedp.Do(ctx, chromedp.Navigate("about:blank"), chromedp.EmulateViewport(1280, 900), chromedp.Navigate(address+hash)))
	}
	text := func(t *testing.T, script string) string {
		t.Helper()
		return browsertest.Evaluate[string](t, ctx, script)
	}
	count := func(t *testing.T, selector string) int {
		t.Helper()
		return browsertest.Evaluate[int](t, ctx, `document.querySelectorAll(`+quote(selector)+`).length`)
	}

	t.Run("opens with the answer", func(t *testing.T) {
		visit(t, "")
		if got := text(t, `document.getElementById("answer").textContent`); !strings.Contains(got, "Every variant held all 10,000 connections") {
			t.Errorf("the answer is %q", got)
		}
		if got := text(t, rowNames); got != "floor/tuned gobwas-epoll/tuned gnet/tuned nbio/tuned goroutine/tuned" {
			t.Errorf("rows: %s", got)
		}
		browsertest.Picture(t, ctx, "explorer-light")
	})

	t.Run("sorts", func(t *testing.T) {
		visit(t, "")
		const click = `document.querySelector("#table thead th:nth-child(2) button").click()`
		must(t, chromedp.Do(ctx, run(click)))
		first := text(t, rowNames)
		must(t, chromedp.Do(ctx, run(click)))
		if last := text(t, rowNames); !strings.HasPrefix(first, "floor/") || !strings.HasPrefix(last, "goroutine/") {
			t.Errorf("rising %s, falling %s", first, last)
		}
		if hash := text(t, "location.hash"); hash != "#sort=-per_connection.rss_bytes" {
			t.Errorf("the address says %s", hash)
		}
	})

	t.Run("a link restores the view", func(t *testing.T) {
		visit(t, "#view=which&base=gnet%2Ftuned&sort=-cpu.accept_us&columns=cpu.accept_us%2Cecho.p99_us&f.variant=gnet&f.variant=goroutine&n=5&gib=3&cores=8")
		if got := text(t, rowNames); got != "goroutine/tuned gnet/tuned" {
			t.Errorf("rows: %s", got)
		}
		if got := text(t, heads); got != "variant; CPU per accept; echo p99" {
			t.Errorf("columns: %s", got)
		}
		if got := text(t, `["base", "cores"].map(id => document.getElementById(id).value).join(" ") + " " + document.getElementById("n-out").textContent`); got != "gnet/tuned 8 100,000" {
			t.Errorf("controls: %s", got)
		}
		if got := text(t, `document.querySelector("#questions [aria-current]").textContent`); got != "Which model?" {
			t.Errorf("the question is %s", got)
		}
		must(t, chromedp.Do(ctx, run(`document.getElementById("all").click()`))) // the page writes its address anew
		hash, before := text(t, "location.hash"), text(t, "document.body.innerText")
		visit(t, hash)
		if after := text(t, "document.body.innerText"); after != before || !strings.Contains(hash, "all=1") {
			t.Errorf("%s does not restore the view", hash)
		}
	})

	t.Run("what noise forbids is greyed and times of other machines are refused", func(t *testing.T) {
		const cells = `[...document.querySelectorAll('#table tr[data-variant="goroutine/tuned"][data-run="%s"] td')].map(e => (e.querySelector(".ratio") || {className: "none"}).className).join(", ")`
		visit(t, "#all=1&f.plan=full&columns=per_connection.rss_bytes,cpu.accept_us,per_connection.kernel_bytes&base=floor/tuned")
		if got := text(t, fmt.Sprintf(cells, "run-1")); got != "ratio, ratio, ratio same" {
			t.Errorf("goroutine: %s", got)
		}
		// Without a base in its own run, a row is read against that of the other machine.
		must(t, chromedp.Do(ctx, run(`data.rows = data.rows.filter(row => !(row.run === 1 && row.name === "floor")); render()`)))
		if got := text(t, fmt.Sprintf(cells, "run-2")); !strings.HasPrefix(got, "ratio, ratio refused, ratio") {
			t.Errorf("goroutine of the other machine: %s", got)
		}
		if got := text(t, `document.getElementById("notes").textContent`); !strings.Contains(got, "CPU model: Other CPU / Made-up CPU") {
			t.Errorf("the notes say %s", got)
		}
	})

	t.Run("what the clients set is greyed", func(t *testing.T) {
		visit(t, "#columns=per_connection.rss_bytes&base=floor/tuned")
		const goroutine = `document.querySelector('#table tr[data-variant="goroutine/tuned"] .ratio').className`
		before := text(t, goroutine)
		must(t, chromedp.Do(ctx, run(`data.rows.find(row => row.run === 0 && row.name === "floor").unranked = [figureAt.get("per_connection.rss_bytes")]; render()`)))
		if after := text(t, goroutine); before != "ratio" || after != "ratio same" {
			t.Errorf("goroutine: %s, then %s", before, after)
		}
	})

	t.Run("a cell leads to its trials", func(t *testing.T) {
		visit(t, "")
		must(t, chromedp.Do(ctx, run(`document.querySelector('#table tr[data-variant="gnet/tuned"] button.cell').focus()`), chromedp.KeyEvent(kb.Enter)))
		got := text(t, `document.getElementById("details").open ? document.getElementById("details").innerText + [...document.querySelectorAll("#details a")].map(a => a.getAttribute("href")).join(" ") : "closed"`)
		for _, want := range []string{"RSS per connection, gnet/tuned", "make bench PLAN=full", "./run-1/index.html#trials", "./run-1/trials.jsonl.gz"} {
			if !strings.Contains(got, want) {
				t.Errorf("the details lack %s: %s", want, got)
			}
		}
		must(t, chromedp.Do(ctx, chromedp.KeyEvent(kb.Escape)))
		if n := count(t, "#details[open]"); n != 0 {
			t.Error("Escape does not close the details")
		}
	})

	t.Run("more than was measured is hatched", func(t *testing.T) {
		visit(t, "#n=3")
		if n := count(t, "#fits .beyond"); n != 0 {
			t.Errorf("%d of 1,000 connections are hatched", n)
		}
		visit(t, "#n=6")
		if n := count(t, "#fits .beyond"); n != 5 {
			t.Errorf("%d of five variants with a million connections are hatched", n)
		}
	})

	t.Run("a history joins only what can be compared", func(t *testing.T) {
		visit(t, "#columns=cpu.accept_us&figure=cpu.accept_us&variant=gnet/tuned")
		if got := text(t, `[...document.querySelectorAll("#history-table tbody td:last-child")].map(e => e.textContent).join(" ")`); got != "group 1 group 2 group 1" {
			t.Errorf("groups: %s", got)
		}
		if n := count(t, "#plot canvas"); n != 1 {
			t.Errorf("%d plots", n)
		}
	})

	t.Run("drop", func(t *testing.T) {
		visit(t, "")
		lines, err := os.ReadFile(filepath.Join(recordtest.Write(t, recordtest.Options{Rounds: 3, Connections: 10_000, Noise: 0.01, Seed: 9}), record.TrialsFile))
		must(t, err)
		drop := func(name, content string) string {
			t.Helper()
			must(t, chromedp.Do(ctx, run(fmt.Sprintf(`(() => {
				document.getElementById("dropped").textContent = "";
				const transfer = new DataTransfer();
				transfer.items.add(new File([%s], %s));
				dispatchEvent(new DragEvent("drop", {dataTransfer: transfer}));
			})()`, quote(content), quote(name))), chromedp.Poll[chromedp.Void](`document.getElementById("dropped").textContent !== ""`)))
			return text(t, `document.getElementById("dropped").textContent`)
		}
		if got := drop("trials.jsonl", string(lines)); !strings.Contains(got, "5 variants of yours") {
			t.Errorf("the page says %s", got)
		}
		if got := text(t, rowNames); !strings.Contains(got, "gnet/tuned (yours)") {
			t.Errorf("rows: %s", got)
		}
		if got := drop("x.jsonl", "{}\nnonsense"); !strings.Contains(got, "x.jsonl is no trials.jsonl") {
			t.Errorf("the page says %s", got)
		}
	})

	t.Run("phone", func(t *testing.T) {
		visit(t, "")
		must(t, chromedp.Do(ctx, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile)))
		if over := browsertest.Evaluate[int](t, ctx, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
			t.Errorf("the page is %d pixels wider than a phone", over)
		}
		if right := browsertest.Evaluate[float64](t, ctx, `document.querySelector("#table tbody td").getBoundingClientRect().right`); right > 390 {
			t.Errorf("the answer's column ends at %v", right)
		}
		browsertest.Picture(t, ctx, "explorer-phone")
	})

	t.Run("dark", func(t *testing.T) {
		visit(t, "")
		must(t, chromedp.Do(ctx, media(emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})))
		if got := text(t, `getComputedStyle(document.body).backgroundColor`); got != "rgb(20, 23, 27)" {
			t.Errorf("the page is %s", got)
		}
		browsertest.Picture(t, ctx, "explorer-dark")
		must(t, chromedp.Do(ctx, media(emulation.SetEmulatedMediaParams{})))
	})

	t.Run("print", func(t *testing.T) {
		visit(t, "")
		// The width of an A4 page in landscape, without its margins.
		must(t, chromedp.Do(ctx, media(emulation.SetEmulatedMediaParams{Media: "print"}), chromedp.EmulateViewport(1030, 700)))
		if cut := browsertest.Evaluate[int](t, ctx, `[...document.querySelectorAll("table")].filter(e => e.offsetParent && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).length`); cut > 0 {
			t.Errorf("%d tables are cut", cut)
		}
		if got := text(t, `getComputedStyle(document.getElementById("controls")).display`); got != "none" {
			t.Errorf("the controls are printed: %s", got)
		}
		browsertest.Picture(t, ctx, "explorer-print")
		must(t, chromedp.Do(ctx, media(emulation.SetEmulatedMediaParams{})))
		pdf, err := chromedp.Run(ctx, func(ctx context.Context, target *chromedp.Target) (int, error) {
			result, err := cdp.Call(ctx, target, cdpage.PrintToPDF, cdpage.PrintToPDFParams{})
			return len(result.Data), err
		})
		if err != nil || pdf < 10_000 {
			t.Errorf("a PDF of %d bytes: %v", pdf, err)
		}
	})

	// The page decides as package stats does, and writes numbers as package table does.
	t.Run("decides as stats", func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		sample := func() []float64 {
			values := make([]float64, 1+random.IntN(7))
			for i := range values {
				values[i] = float64(random.IntN(12))
			}
			return values
		}
		for range 300 {
			a, b := sample(), sample()
			for i := range b {
				b[i] += float64(random.IntN(2) * 8)
			}
			c := stats.Compare(a, b)
			want := map[bool]string{true: "yes", false: "no"}[c.Different]
			if c.Undecided {
				want = "unknown"
			}
			if got := text(t, fmt.Sprintf("differ(%s, %s)", quote(a), quote(b))); got != want {
				t.Errorf("%v and %v differ: %s, package stats says %s (p %v)", a, b, got, want, c.P)
			}
		}
	})

	t.Run("writes as table", func(t *testing.T) {
		bytes := figure.Must("per_connection.rss_bytes")
		for _, x := range []float64{0, 0.00123, 0.5, 9.994, 9.996, 99.95, 100, 999.5, 1234.4, 9999, 123456789, -42.42, 0.1} {
			share := math.Abs(x) / 100
			for script, want := range map[string]string{
				fmt.Sprintf("number(%v)", x): table.Number(x),
				fmt.Sprintf("write(data.figures[figureAt.get(%q)], %v)", bytes.Name, x): table.Value(bytes.Unit)(x),
				fmt.Sprintf("percent(%v)", share):                                       table.Percent(share),
			} {
				if got := text(t, script); got != want {
					t.Errorf("%s is %s, package table writes %s", script, got, want)
				}
			}
		}
	})
	t.Run("summarizes as table", func(t *testing.T) {
		for _, list := range [][]float64{{0.5}, {0.1, 0.12, 0.14}, {0.01, 0.12, 2.4}, {0, 0.1, 0.3}, {5, 5, 5}} {
			f := figure.Must("after.rss_given_back")
			cell := table.Summary(stats.Summarize(list), f.Unit)
			script := fmt.Sprintf(`summary({values: {[figureAt.get(%q)]: %s}}, figureAt.get(%q)).join(" ").trim()`, f.Name, quote(list), f.Name)
			if got := text(t, script); got != cell.String() {
				t.Errorf("%v are %q, package table writes %q", list, got, cell)
			}
		}
	})
	said.None(t)
}

// hostile is what somebody may put into any text of a record.
const hostile = `"'></title></style></script><script>document.title='owned'</script><img src=x onerror="document.title='owned'">`

func TestHostileRunsInABrowser(t *testing.T) {
	ctx := browsertest.Open(t)
	said := browsertest.Listen(ctx)
	bad := made("full", 1, func(m *record.Manifest) {
		m.Title, m.Command, m.Connbench, m.Lab, m.GoVersion = hostile, hostile, hostile, hostile, hostile
		m.Hosts[0].CPUModel, m.Hosts[0].Kernel = hostile, hostile
	}, func(trial *record.Trial) { trial.Model, trial.Library = hostile, hostile })
	bad.Dir = "/results/" + strings.ReplaceAll(hostile, "/", "")
	must(t, chromedp.Do(ctx, chromedp.Navigate(filed(t, []*record.Run{bad})+"#all=1"),
		run(`for (const e of document.querySelectorAll("details")) e.open = true; document.querySelector("button.cell").click()`)))
	if title := browsertest.Evaluate[string](t, ctx, "document.title"); title != "connbench: published results" {
		t.Errorf("the title is %q", title)
	}
	if n := browsertest.Evaluate[int](t, ctx, "document.scripts.length + document.images.length"); n != 2 {
		t.Errorf("%d scripts and images", n)
	}
	said.None(t)
}

// quote writes a value in JavaScript.
func quote(value any) string {
	quoted, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(quoted)
}
