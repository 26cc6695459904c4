// Package history finds among earlier runs those that a new one can go by.
package history

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"connbench/harness/figure"
	"connbench/harness/limits"
	"connbench/harness/plain"
	"connbench/harness/publish"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/sizing"
	"connbench/harness/stats"
	"connbench/harness/table"
	"connbench/harness/variant"
)

// Cost is what a connection was measured to take: memory of the server's host, user and
// kernel, and the other resources that limits are predicted from.
type Cost struct {
	// Bytes is the median of memory over the rounds, Low and High are its interval.
	Bytes float64 `json:"bytes"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	// Threads is the number of the server's threads, ClientBytes the memory of a client
	// host, where that has a kernel of its own. Nil where the run does not say.
	Threads     *float64 `json:"threads"`
	ClientBytes *float64 `json:"client_bytes"`
	// Variant is the server, Run the name of the folder of the run that measured it,
	// with so many connections and rounds.
	Variant     string    `json:"variant"`
	Run         string    `json:"run"`
	Connections int       `json:"connections"`
	Rounds      int       `json:"rounds"`
	Started     time.Time `json:"started"`
}

// Limits is the cost as limits are computed of it.
func (c Cost) Limits() limits.Cost {
	return limits.Cost{ServerBytes: &c.Bytes, ClientBytes: c.ClientBytes, Threads: c.Threads}
}

// String says where the cost comes from, how large that run was and how old it is.
func (c Cost) String() string {
	return fmt.Sprintf("%s bytes per connection of %s: from %s (%s, %s, %s)", table.Number(c.Bytes), c.Variant, plain.Line(c.Run),
		table.Plural(c.Connections, "connection"), table.Plural(c.Rounds, "round"), age(time.Since(c.Started)))
}

func age(d time.Duration) string {
	switch days := int(d.Hours() / 24); {
	case d < 0:
		return "from the future"
	case days == 0:
		return "less than a day old"
	default:
		return table.Plural(days, "day") + " old"
	}
}

// fewest is the number of connections from which a slope says what a connection takes:
// below, it is mostly the pages that everything is rounded up to.
const fewest = 5_000

// costOf is the cost of a connection of choice, by the newest of runs that can be trusted
// and measured it in such a lab with the same engine. It is nil if no such run exists; why
// then says what is wrong with the newest run that measured it, "" if none did.
func costOf(runs Runs, choice variant.Choice, lab, engine string) (cost *Cost, why string) {
	for _, run := range runs {
		i := slices.IndexFunc(figure.Variants(run), func(v figure.Variant) bool { return v.Name == choice.Name && v.Class == choice.Class })
		if i < 0 || run.Trials[0].Lab != lab || run.Trials[0].Engine != engine {
			continue
		}
		cost, problem := costIn(run, figure.Variants(run)[i])
		if problem == "" {
			return cost, ""
		}
		if why == "" {
			why = filepath.Base(run.Dir) + ": " + problem
		}
	}
	return nil, why
}

// Runs are earlier runs, the newest first.
type Runs []*record.Run

// Read reads the runs in the folder results. It passes over those that cannot be read:
// `connbench report` says what is wrong with them.
func Read(results string) Runs {
	files, _ := filepath.Glob(filepath.Join(results, "*", record.ManifestFile)) // the pattern is sound
	var runs Runs
	for _, file := range files {
		if run, err := folder.Open(filepath.Dir(file)); err == nil && len(run.Trials) > 0 {
			runs = append(runs, run)
		}
	}
	slices.SortStableFunc(runs, func(a, b *record.Run) int { return b.Manifest.Started.Compare(a.Manifest.Started) })
	return runs
}

// trusted leaves of a variant in a run the trials that can be trusted, or says what keeps
// all of them from being trusted. Noise does not count on emulated CPUs, which are never
// quiet: bytes do not depend on them.
func trusted(run *record.Run, v figure.Variant) (left figure.Variant, problem string) {
	if run.Manifest.State != record.StateFinished {
		return v, "the run is " + run.Manifest.State
	}
	if len(v.Valid) == 0 {
		return v, "no trial is valid"
	}
	v.Valid = slices.DeleteFunc(slices.Clone(v.Valid), func(t *record.Trial) bool { return t.Noisy && !run.Manifest.Emulated() })
	if len(v.Valid) == 0 {
		return v, "all trials are noisy"
	}
	v.Valid = slices.DeleteFunc(v.Valid, func(t *record.Trial) bool { return t.Connections.Reached < fewest })
	if len(v.Valid) == 0 {
		return v, "fewer than " + table.Plural(fewest, "connection")
	}
	return v, ""
}

// Capacity answers a need for each variant, from the newest runs that can be trusted. Runs
// on emulated CPUs, whose times mean nothing, are left out.
func (runs Runs) Capacity(need sizing.Need) sizing.Answer {
	var sources []sizing.Source
	for _, run := range runs {
		if run.Manifest.Emulated() {
			continue
		}
		for _, v := range figure.Variants(run) {
			if v, problem := trusted(run, v); problem == "" {
				sources = append(sources, sizing.Source{Run: run, Variant: v})
			}
		}
	}
	return sizing.OfEach(sources, need)
}

// costIn is the cost of a variant in a run, or what keeps it from being trusted.
func costIn(run *record.Run, v figure.Variant) (cost *Cost, problem string) {
	v, problem = trusted(run, v)
	if problem != "" {
		return nil, problem
	}
	bytes, doubt := sizing.BytesPer(v, 1)
	switch {
	case bytes == nil && doubt == "":
		return nil, "its memory was not measured"
	case bytes == nil:
		return nil, doubt
	case bytes.Low <= 0:
		return nil, "its memory is not significantly more than nothing"
	}
	cost = &Cost{
		Bytes: bytes.Median, Low: bytes.Low, High: bytes.High, Variant: v.String(), Run: filepath.Base(run.Dir),
		Rounds: len(v.Valid), Started: run.Manifest.Started,
	}
	var threads, client []float64
	for _, t := range v.Valid {
		cost.Connections = max(cost.Connections, t.Connections.Reached)
		if t.PerConnection.Threads != nil {
			threads = append(threads, *t.PerConnection.Threads)
		}
		if bytes := sizing.ClientBytes(t, 1); bytes != nil && !run.Manifest.OneKernel() {
			client = append(client, *bytes)
		}
	}
	cost.Threads, cost.ClientBytes = stats.Median(threads), stats.Median(client)
	return cost, ""
}

// LeastCost is the least of what a connection of each of the choices costs, by costOf.
// It is nil where no run says; why then says what is wrong with one that might.
func (runs Runs) LeastCost(choices []variant.Choice, lab, engine string) (least *Cost, why string) {
	for _, choice := range choices {
		cost, problem := costOf(runs, choice, lab, engine)
		if cost != nil && (least == nil || cost.Bytes < least.Bytes) {
			least = cost
		}
		why = cmp.Or(why, problem)
	}
	if least != nil {
		return least, ""
	}
	return nil, why
}

// Baseline is the newest published run in the folder results of a plan and a lab on
// a machine like here, nil where there is none.
func Baseline(results, plan, lab string, here record.Host) (*record.Run, error) {
	runs, err := publish.Published(results)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(runs, func(run *record.Run) bool {
		return len(run.Trials) > 0 && run.Trials[0].Plan == plan && run.Manifest.Lab == lab && publish.SameMachine(run, here)
	})
	if i < 0 {
		return nil, nil
	}
	return runs[i], nil
}
