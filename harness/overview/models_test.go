package overview

import (
	"slices"
	"strings"
	"testing"

	"connbench/harness/record"
)

// A run of several models says what each costs, and one of few does not.
func TestByModel(t *testing.T) {
	run := &record.Run{Manifest: record.Manifest{Schema: record.Schema}}
	add := func(name, model string, rss float64) {
		run.Manifest.Variants = append(run.Manifest.Variants, record.Variant{Name: name, Class: "tuned", Model: model})
		trial := record.Trial{Trial: len(run.Trials) + 1, Round: 1, Variant: name, Class: "tuned", Model: model, Valid: true}
		trial.PerConnection.RSSBytes = &rss
		run.Trials = append(run.Trials, trial)
	}
	add("lean", "reactor: inline", 32)
	add("fat", "reactor", 512)
	add("old", "epoll and a pool", 64) // from before there was the list of models
	add("simple", "goroutine per connection: blocking reads", 8800)
	if lines := byModel(run); lines != nil {
		t.Errorf("of two models it says %q", lines)
	}
	add("kernel", "completion: rings", 40)
	want := []string{
		"goroutine per connection: RSS 8,800 (simple) B/conn",
		"reactor: RSS 32.0 (lean) to 512 (fat) B/conn",
		"completion: RSS 40.0 (kernel) B/conn",
	}
	if lines := byModel(run); !slices.Equal(lines, want) {
		t.Errorf("%s\nwant %s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}
