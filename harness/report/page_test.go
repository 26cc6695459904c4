package report

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"connbench/harness/charts"
	"connbench/harness/charts/draw"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/record/recordtest"
	"connbench/harness/webpage/browsertest"
)

func pageText(t *testing.T, run *record.Run) string {
	t.Helper()
	drawings, err := charts.Of(run)
	must(t, err)
	var out bytes.Buffer
	must(t, writePage(&out, run, drawings))
	return out.String()
}

func TestPageHoldsEverything(t *testing.T) {
	text := pageText(t, opened(t, recordtest.Default))
	wants(t, text, "<h1>A made-up run</h1>", "Every variant held all 10,000 connections", "Made-up CPU @ 3.00GHz", "make bench PLAN=full LAB=local",
		"net.core.somaxconn", "github.com/gobwas/ws", "Content-Security-Policy", "data-plot=\"", "What each figure means", "All 30 trials", "Repeatability")
	// Nothing that would be fetched.
	for _, bad := range []string{"src=", "@import", "url(", "<link", "http://", "https://"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
}

// hostile is what somebody may put into any text of a record.
const hostile = `"'></title></style></script><script>document.title='owned'</script><img src=x onerror="document.title='owned'">`

func hostileOptions() recordtest.Options {
	o := recordtest.Default
	o.Rounds = 1
	o.ChangeManifest = func(m *record.Manifest) {
		m.Title, m.Command, m.Connbench, m.Limit, m.Warnings, m.Plan = hostile, hostile, hostile, hostile, []string{hostile}, map[string]any{hostile: hostile}
		m.Hosts[0].Name, m.Hosts[0].Kernel, m.Hosts[0].Sysctls = hostile, hostile, map[string]string{hostile: hostile}
		m.Variants[0].Settings, m.Variants[0].Environment = hostile, map[string]string{hostile: hostile}
	}
	o.Change = func(trial *record.Trial) {
		trial.Model, trial.Library, trial.Warnings, trial.Noisy = hostile, hostile, []string{hostile}, true
		trial.KernelCaches[hostile] = 7777
	}
	return o
}

func TestHostileTextsStayTextsInThePage(t *testing.T) {
	text := pageText(t, opened(t, hostileOptions()))
	if n := strings.Count(text, "<script"); n != 1 {
		t.Errorf("%d scripts", n)
	}
	if strings.Contains(text, "<img") {
		t.Error("an element of the record is in the page")
	}
}

// writeIn writes the reports of the run in a folder.
func writeIn(t *testing.T, dir string) {
	t.Helper()
	run, err := folder.Open(dir)
	must(t, err)
	must(t, Write(run))
}

// written writes the reports of a run and returns the address of its page.
func written(t *testing.T, o recordtest.Options) string {
	t.Helper()
	dir := recordtest.Write(t, o)
	writeIn(t, dir)
	return "file://" + filepath.Join(dir, PageFile)
}

// awaitPlots waits until the page has drawn its plots.
func awaitPlots(t *testing.T, ctx context.Context) {
	t.Helper()
	const unpacked = `drawn.then(() => document.querySelectorAll("figure svg.chart").length)`
	plots, err := chromedp.Run(ctx, chromedp.Evaluate[int](unpacked, chromedp.EvalAwaitPromise))
	if err != nil || plots < 3 {
		t.Fatalf("%d plots, %v", plots, err)
	}
}

func TestPageInABrowser(t *testing.T) {
	ctx := browsertest.Open(t)
	said := browsertest.Listen(ctx)
	must(t, chromedp.Do(ctx, chromedp.EmulateViewport(1200, 900), chromedp.Navigate(written(t, recordtest.Default))))
	awaitPlots(t, ctx)
	browsertest.Picture(t, ctx, "light")

	t.Run("tables sort", func(t *testing.T) {
		const first = `document.querySelectorAll("#tables table")[1].tBodies[0].rows[0].cells[0].textContent`
		const head = `#tables h2:nth-of-type(2) + .wide th:nth-child(2)`
		must(t, chromedp.Do(ctx, chromedp.Click(chromedp.CSS(head+" button"))))
		if got := browsertest.Evaluate[string](t, ctx, first); got != "floor" {
			t.Errorf("by rising RSS the first is %s", got)
		}
		must(t, chromedp.Do(ctx, chromedp.Click(chromedp.CSS(head+" button"))))
		if got := browsertest.Evaluate[string](t, ctx, first); got != "goroutine" {
			t.Errorf("by falling RSS the first is %s", got)
		}
		if got := browsertest.Evaluate[string](t, ctx, `document.querySelector("`+head+`").getAttribute("aria-sort")`); got != "descending" {
			t.Errorf("aria-sort is %s", got)
		}
	})

	t.Run("variants are switched off", func(t *testing.T) {
		const shown = `[...document.querySelectorAll('[data-variant="gnet/tuned"]')].filter(e => getComputedStyle(e).display !== "none").length`
		before := browsertest.Evaluate[int](t, ctx, shown)
		must(t, chromedp.Do(ctx, chromedp.Click(chromedp.CSS(`[data-switch="gnet/tuned"]`))))
		if n := browsertest.Evaluate[int](t, ctx, shown); n != 0 || before < 8 {
			t.Errorf("gnet is shown in %d places, before in %d", n, before)
		}
		browsertest.Picture(t, ctx, "switched")
		must(t, chromedp.Do(ctx, chromedp.Click(chromedp.CSS(`[data-switch="gnet/tuned"]`))))
		if n := browsertest.Evaluate[int](t, ctx, shown); n != before {
			t.Errorf("switched on again, gnet is shown in %d places, before in %d", n, before)
		}
	})

	t.Run("values are shown", func(t *testing.T) {
		const text = `document.getElementById("tip").hidden ? "" : document.getElementById("tip").textContent`
		spot := browsertest.Evaluate[[]float64](t, ctx, `(() => {
			const mark = document.querySelector('svg.chart [data-variant="goroutine/tuned"] [data-tip]:last-child');
			mark.scrollIntoView({block: "center"});
			const box = mark.getBoundingClientRect();
			return [box.x + box.width / 2, box.y + box.height / 2];
		})()`)
		must(t, chromedp.Do(ctx, chromedp.MouseEvent("mouseMoved", spot[0]+2, spot[1]+2)))
		if got := browsertest.Evaluate[string](t, ctx, text); !strings.HasPrefix(got, "goroutine: ") || !strings.Contains(got, "MiB at 10,000 connections") {
			t.Errorf("the pointer shows %q", got)
		}
		browsertest.Picture(t, ctx, "hover")
		must(t, chromedp.Do(ctx, chromedp.Focus(chromedp.CSS("#plots figure:nth-of-type(3) .wide")), chromedp.KeyEvent(kb.ArrowRight)))
		if got := browsertest.Evaluate[string](t, ctx, text); !strings.HasPrefix(got, "floor: live heap") {
			t.Errorf("the arrow key shows %q", got)
		}
		must(t, chromedp.Do(ctx, chromedp.KeyEvent(kb.Escape)))
		if got := browsertest.Evaluate[string](t, ctx, text); got != "" {
			t.Errorf("after Escape there is %q", got)
		}
	})

	t.Run("phone", func(t *testing.T) {
		must(t, chromedp.Do(ctx, chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile)))
		if over := browsertest.Evaluate[int](t, ctx, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
			t.Errorf("the page is %d pixels wider than a phone", over)
		}
		browsertest.Picture(t, ctx, "phone")
	})

	t.Run("dark", func(t *testing.T) {
		dark := chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
			_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
			})
			return err
		})
		must(t, chromedp.Do(ctx, chromedp.EmulateViewport(1200, 900), dark))
		for element, property := range map[string]string{"body": "backgroundColor", "svg.chart rect": "fill"} {
			if got := browsertest.Evaluate[string](t, ctx, `getComputedStyle(document.querySelector("`+element+`")).`+property); got != "rgb(20, 23, 27)" {
				t.Errorf("%s is %s", element, got)
			}
		}
		browsertest.Picture(t, ctx, "dark")
	})

	said.None(t)
}

// Every text can be read: the contrast of the theme's colours on its background
// is at least 4.5 (WCAG 2.2, 1.4.3), and that of the variants' at least 2
// beside their marks, in both themes.
func TestColoursCanBeRead(t *testing.T) {
	for name, theme := range map[string]string{"light": draw.LightColors, "dark": draw.DarkColors} {
		colors := map[string]string{}
		for definition := range strings.SplitSeq(theme, ";") {
			property, value, _ := strings.Cut(definition, ":")
			colors[property] = value
		}
		for _, text := range []string{"--ink", "--quiet"} {
			if c := contrast(colors[text], colors["--paper"]); c < 4.5 {
				t.Errorf("%s: contrast of %s is %.1f", name, text, c)
			}
		}
		for variant, style := range draw.Styles([]string{"floor/tuned", "goroutine/tuned", "gobwas-epoll/tuned", "gnet/tuned", "nbio/tuned"}) {
			if c := contrast(style.Color, colors["--paper"]); c < 2.5 {
				t.Errorf("%s: contrast of %s is %.1f", name, variant, c)
			}
		}
	}
}

// contrast is the ratio of two colours' luminances (WCAG 2.2, relative luminance).
func contrast(a, b string) float64 {
	luminance := func(color string) float64 {
		var sum float64
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			digits := color[1+2*i : 3+2*i]
			value := float64(strings.IndexByte("0123456789abcdef", digits[0]|0x20)*16+strings.IndexByte("0123456789abcdef", digits[1]|0x20)) / 255
			if value <= 0.04045 {
				value /= 12.92
			} else {
				value = math.Pow((value+0.055)/1.055, 2.4)
			}
			sum += weight * value
		}
		return sum
	}
	lighter, darker := luminance(a), luminance(b)
	if lighter < darker {
		lighter, darker = darker, lighter
	}
	return (lighter + 0.05) / (darker + 0.05)
}

func TestHostileRunInABrowser(t *testing.T) {
	ctx := browsertest.Open(t)
	said := browsertest.Listen(ctx)
	must(t, chromedp.Do(ctx, chromedp.Navigate(written(t, hostileOptions()))))
	awaitPlots(t, ctx)
	if title := browsertest.Evaluate[string](t, ctx, "document.title"); !strings.HasPrefix(title, `"'></title>`) {
		t.Errorf("the title is %q", title)
	}
	if n := browsertest.Evaluate[int](t, ctx, "document.scripts.length + document.images.length"); n != 1 {
		t.Errorf("%d scripts and images", n)
	}
	browsertest.Picture(t, ctx, "hostile")
	said.None(t)
}

func TestPlotsAreFiled(t *testing.T) {
	dir := recordtest.Write(t, recordtest.Default)
	must(t, os.Mkdir(filepath.Join(dir, PlotsFolder), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, PlotsFolder, "of-last-time.svg"), nil, 0o644))
	writeIn(t, dir)
	tables, err := os.ReadFile(filepath.Join(dir, TablesFile))
	must(t, err)
	entries, err := os.ReadDir(filepath.Join(dir, PlotsFolder))
	must(t, err)
	if len(entries) != 10 {
		t.Errorf("plots: %v", entries)
	}
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry.Name(), ".svg"); ok {
			wants(t, string(tables), "("+PlotsFolder+"/"+name+".svg)")
			text, err := os.ReadFile(filepath.Join(dir, PlotsFolder, entry.Name()))
			must(t, err)
			decoder := xml.NewDecoder(bytes.NewReader(text))
			for err == nil {
				_, err = decoder.Token()
			}
			if !errors.Is(err, io.EOF) {
				t.Errorf("%s: %v", entry.Name(), err)
			}
		}
	}
}
