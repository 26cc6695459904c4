// Package compare says how two runs differ: first their environments, and which
// figures can be compared at all because of that, then the figures themselves.
package compare

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"connbench/harness/figure"
	"connbench/harness/record"
	"connbench/harness/stats"
	"connbench/harness/table"
)

// Comparison is the difference between an old run and a new one.
type Comparison struct {
	Old string `json:"old"`
	New string `json:"new"`
	// Environment lists what differs outside the figures.
	Environment []Difference `json:"environment"`
	// Notes say what could not be compared, and why.
	Notes []string `json:"notes"`
	// Rows are the figures, those of the tables first, each for every variant that
	// both runs measured.
	Rows []Row `json:"rows"`
	// Failed are the conditions that a significant change goes beyond, Unjudged those
	// that could not be judged.
	Failed   []string `json:"failed"`
	Unjudged []string `json:"unjudged"`

	failing []string // variants, each once
}

// FailedVariants are the variants that go beyond a condition, each once.
func (c Comparison) FailedVariants() []string { return c.failing }

// Row compares one figure of one variant.
type Row struct {
	Figure  string `json:"figure"`
	Unit    string `json:"unit"`
	Variant string `json:"variant"`
	Old     Side   `json:"old"`
	New     Side   `json:"new"`
	// Delta is new ÷ old - 1, null where old is 0 or may as well be.
	Delta *float64 `json:"delta"`
	// Margin is the change that noise of the hosts may make, as a share; smaller ones are
	// within noise whatever the test says. Noise says why noise forbids to judge.
	Margin float64 `json:"margin,omitempty"`
	Noise  string  `json:"noise,omitempty"`
	// P is the p-value of the Mann-Whitney U test.
	P float64 `json:"p"`
	// Warnings are the test's, such as that it has too few rounds to find anything.
	Warnings []string `json:"warnings,omitempty"`
	// Verdict is what may be said.
	Verdict Verdict `json:"verdict"`
	// Obstacle is the difference of the environments for which the figures cannot be
	// compared. Doubt says why the figure is not believed in some rounds or all,
	// ClientBound why it is the swarm's rather than the server's.
	Obstacle    string `json:"obstacle,omitempty"`
	Doubt       string `json:"doubt,omitempty"`
	ClientBound string `json:"client_bound,omitempty"`

	figure   figure.Figure
	headline bool
}

// Side is a figure in one of the runs, null where it is not believed in any round.
type Side struct {
	Median *float64 `json:"median"`
	Low    *float64 `json:"low"`
	High   *float64 `json:"high"`
	Rounds int      `json:"rounds"`

	// summary is of what is believed, all of what was taken.
	summary, all stats.Summary
	doubt        string
	clientBound  string
	noise        disturbance
}

// Verdict is what may be said of a row.
type Verdict string

// The verdicts.
const (
	Better       Verdict = "better"
	Worse        Verdict = "worse"
	Same         Verdict = "within noise"   // too small for the test or the hosts' noise
	TooFew       Verdict = "too few rounds" // the test could not find any difference
	Incomparable Verdict = "not comparable" // the environments differ in what the figure depends on
	Doubted      Verdict = "not believed"   // in one of the runs, or both
	Noisy        Verdict = "too noisy"      // the hosts were disturbed in too many rounds
	ClientBound  Verdict = "client-bound"   // in one of the runs, or both, the swarm set the figure
)

// Condition is a change that a comparison must not show, written as "rss_bytes>5%":
// the figure of any variant is more than 5 % larger than before, and not by chance.
// "delivered_per_second<-5%" is more than 5 % smaller, "lost>2" more than 2 larger.
type Condition struct {
	Figure figure.Figure
	// Above is true for >, false for <.
	Above bool
	// Limit is the limit of the change: of the figure, or where Relative, of its share of
	// the old one, 0.05 for 5%.
	Limit    float64
	Relative bool
	text     string
	// ifTaken is true where it is no matter if neither run has the figure.
	ifTaken bool
}

var condition = regexp.MustCompile(`^\s*([a-z0-9_.]+)\s*([<>])\s*([+-]?[0-9]+(?:\.[0-9]+)?)\s*(%?)\s*$`)

// ParseCondition reads a condition, or returns an error that says what is wrong with it.
func ParseCondition(text string) (Condition, error) {
	parts := condition.FindStringSubmatch(text)
	if parts == nil {
		return Condition{}, fmt.Errorf("condition %q is not of the form rss_bytes>5%%, delivered_per_second<-5%% or lost>2", text)
	}
	f, err := figure.Find(parts[1])
	if err != nil {
		return Condition{}, fmt.Errorf("condition %q: %w", text, err)
	}
	limit, err := strconv.ParseFloat(parts[3], 64)
	if err != nil {
		return Condition{}, fmt.Errorf("condition %q: %s is no number", text, parts[3])
	}
	c := Condition{Figure: f, Above: parts[2] == ">", Limit: limit, Relative: parts[4] == "%", text: strings.TrimSpace(text)}
	if c.Relative {
		c.Limit /= 100
	}
	return c, nil
}

// ParseConditions reads several.
func ParseConditions(texts []string) ([]Condition, error) {
	var list []Condition
	for _, text := range texts {
		condition, err := ParseCondition(text)
		if err != nil {
			return nil, err
		}
		list = append(list, condition)
	}
	return list, nil
}

// String is the condition as it was written.
func (c Condition) String() string { return c.text }

// Texts are conditions as they were written.
func Texts(conditions []Condition) []string {
	var list []string
	for _, c := range conditions {
		list = append(list, c.text)
	}
	return list
}

// exceeded is true when a change goes beyond the condition.
func (c Condition) exceeded(change float64) bool {
	if c.Above {
		return change > c.Limit
	}
	return change < c.Limit
}

// Tolerances are the conditions of all figures that have a tolerance: more than the
// noise of a steady host makes. A figure that is in neither run is passed over. Latency has none: between runs on a shared host its
// tails differ by more than any change that one would look for.
func Tolerances() []Condition {
	var list []Condition
	for _, f := range figure.All() {
		if f.Tolerance > 0 {
			list = append(list, tolerance(f, f.Tolerance, true))
		}
		if f.Slack > 0 {
			list = append(list, tolerance(f, f.Slack, false))
		}
	}
	return list
}

// tolerance is the condition that a figure gets worse by more than limit.
func tolerance(f figure.Figure, limit float64, relative bool) Condition {
	c := Condition{Figure: f, Above: f.Better == figure.Lower, Limit: limit, Relative: relative, ifTaken: true}
	sign, shown, unit := ">", limit, ""
	if relative {
		shown, unit = math.Round(limit*1000)/10, "%"
	}
	if !c.Above {
		c.Limit, sign, shown = -limit, "<", -shown
	}
	c.text = f.Name + sign + strconv.FormatFloat(shown, 'f', -1, 64) + unit
	return c
}

// Compare compares two runs. It returns an error if they have no variant in common.
func Compare(old, new *record.Run, failOn []Condition) (Comparison, error) {
	figures := ordered(old, new)
	c := Comparison{
		Old: old.Dir, New: new.Dir, Environment: differences(old, new, figures),
		Notes: []string{}, Rows: []Row{}, Failed: []string{}, Unjudged: []string{},
	}
	for _, run := range []*record.Run{old, new} {
		if run.Manifest.Schema == 0 {
			c.Notes = append(c.Notes, fmt.Sprintf("%s is only a trials file, which does not name its machine, so its figures may not be comparable", run.Dir))
		}
	}
	before, after := figure.Variants(old), figure.Variants(new)
	pairs := c.pair(before, after)
	if len(pairs) == 0 {
		return c, errors.New("the two runs have no variant in common that has valid trials in both: there is nothing to compare")
	}
	for _, f := range figures {
		for _, pair := range pairs {
			if row, ok := c.row(f, pair[0], pair[1]); ok {
				c.Rows = append(c.Rows, row)
			}
		}
	}
	for _, condition := range failOn {
		c.judge(condition)
	}
	return c, nil
}

// ordered are all figures of two runs, those of the table first.
func ordered(old, new *record.Run) []figure.Figure {
	all := figure.Of(old, new)
	list := slices.DeleteFunc(slices.Clone(all), func(f figure.Figure) bool { return !isHeadline(f) })
	return append(list, slices.DeleteFunc(all, isHeadline)...)
}

func isHeadline(f figure.Figure) bool { return f.In(figure.TableComparison) }

// pair finds the variants with valid trials in both runs, and notes the others.
func (c *Comparison) pair(before, after []figure.Variant) (pairs [][2]figure.Variant) {
	find := func(list []figure.Variant, name string) (figure.Variant, bool) {
		i := slices.IndexFunc(list, func(v figure.Variant) bool { return v.String() == name && len(v.Valid) > 0 })
		if i < 0 {
			return figure.Variant{}, false
		}
		return list[i], true
	}
	for _, v := range before {
		other, found := find(after, v.String())
		switch {
		case len(v.Valid) == 0:
			c.Notes = append(c.Notes, fmt.Sprintf("%s has no valid trial in %s", v, c.Old))
		case !found:
			c.Notes = append(c.Notes, fmt.Sprintf("%s has no valid trial in %s", v, c.New))
		default:
			pairs = append(pairs, [2]figure.Variant{v, other})
		}
	}
	for _, v := range after {
		if !slices.ContainsFunc(before, func(o figure.Variant) bool { return o.String() == v.String() }) {
			c.Notes = append(c.Notes, fmt.Sprintf("%s is only in %s", v, c.New))
		}
	}
	return pairs
}

// row compares a figure of a variant; false where one of the runs does not have it.
func (c *Comparison) row(f figure.Figure, before, after figure.Variant) (Row, bool) {
	a, b := side(f, before), side(f, after)
	if !a.taken() || !b.taken() || f.Better == figure.None {
		return Row{}, false
	}
	row := Row{
		Figure: f.Name, Unit: f.Unit.Name, Variant: before.String(), Old: a, New: b,
		Obstacle: c.obstacle(f), Doubt: either(a.doubt, b.doubt), ClientBound: either(a.clientBound, b.clientBound), figure: f, headline: isHeadline(f),
	}
	if f.InsteadOf != "" && row.Obstacle == "" && c.obstacle(figure.Must(f.InsteadOf)) != "" {
		row.headline = true
	}
	if a.summary.Median > 0 && a.summary.Spread() < 1 && b.Rounds > 0 {
		row.Delta = new(b.summary.Median/a.summary.Median - 1)
	}
	row.Margin, row.Noise = margin(a.noise, b.noise)
	old, new := a.summary, b.summary
	one := f.Slope != nil && (a.Rounds == 0) != (b.Rounds == 0)
	if one { // it is no slope, but may be another
		old, new = a.all, b.all
	}
	test := stats.Compare(old.Values, new.Values)
	row.P, row.Warnings = test.P, test.Warnings
	switch {
	case old.N() == 0 || new.N() == 0 || one && !test.Different:
		row.Verdict = Doubted
	case row.Obstacle != "":
		row.Verdict = Incomparable
	case row.Noise != "":
		row.Verdict = Noisy
	case row.ClientBound != "":
		row.Verdict = ClientBound
	case test.Undecided:
		row.Verdict = TooFew
	case !test.Different, row.Delta != nil && math.Abs(*row.Delta) <= row.Margin:
		row.Verdict = Same
	case (new.Median > old.Median) == (f.Better == figure.Higher):
		row.Verdict = Better
	default:
		row.Verdict = Worse
	}
	return row, true
}

func side(f figure.Figure, v figure.Variant) Side {
	side := Side{doubt: v.Doubt(f)}
	if f.Timed() {
		v, side.noise = quiet(f, v)
	}
	side.clientBound = v.ClientBound(f)
	s := v.Summary(f)
	side.Rounds, side.summary, side.all = s.N(), s, v.Taken(f)
	if s.N() > 0 {
		side.Median, side.Low, side.High = &s.Median, &s.Low, &s.High
	}
	return side
}

// note says why rounds were left out, or cannot be judged.
func (s Side) note() string {
	return strings.Join(slices.DeleteFunc([]string{s.doubt, s.noise.String(), s.clientBound}, func(text string) bool { return text == "" }), "; ")
}

// taken is true where the figure was measured, whether or not it is believed.
func (s Side) taken() bool { return s.Rounds > 0 || s.doubt != "" }

// either joins what is to say of the two runs, "" for nothing.
func either(old, new string) string {
	switch {
	case old == new:
		return old
	case old == "":
		return "new: " + new
	case new == "":
		return "old: " + old
	}
	return "old: " + old + "; new: " + new
}

// obstacle is the first difference that spoils a figure, "" for none.
func (c *Comparison) obstacle(f figure.Figure) string {
	for _, d := range c.Environment {
		if SpoilsFigure(d.fact, f) {
			return d.Name
		}
	}
	return ""
}

// judge finds the rows that go beyond a condition. Only a significant change counts.
func (c *Comparison) judge(condition Condition) {
	var reasons []string
	variants := map[string][]string{} // by the reason why they cannot be judged
	unjudged := func(variant, reason string) {
		if variants[reason] == nil {
			reasons = append(reasons, reason)
		}
		variants[reason] = append(variants[reason], variant)
	}
	judged := false
	for _, row := range c.Rows {
		if row.Figure != condition.Figure.Name {
			continue
		}
		judged = true
		switch {
		case row.Verdict == Doubted && condition.ifTaken && row.figure.Slope != nil && row.Old.doubt == row.New.doubt:
			// In neither run is there anything to judge, such as stacks of a server without
			// goroutines.
		case row.Verdict == Doubted:
			unjudged(row.Variant, "the figure is unreliable ("+row.Doubt+")")
		case row.Verdict == Incomparable:
			unjudged(row.Variant, "the environments differ in "+row.Obstacle)
		case row.Verdict == Noisy:
			unjudged(row.Variant, row.Noise)
		case row.Verdict == ClientBound:
			unjudged(row.Variant, row.ClientBound)
		case row.Verdict == TooFew:
			unjudged(row.Variant, fmt.Sprintf("too few rounds, %d and %d", row.Old.Rounds, row.New.Rounds))
		case row.Verdict == Same:
		case condition.Relative && row.Delta == nil:
			unjudged(row.Variant, fmt.Sprintf("a relative change is meaningless, since the old value is close to 0: %s, now %s", row.show(row.Old), row.show(row.New)))
		case condition.exceeded(row.change(condition.Relative)):
			if !slices.Contains(c.failing, row.Variant) {
				c.failing = append(c.failing, row.Variant)
			}
			c.Failed = append(c.Failed, fmt.Sprintf("%s: %s went from %s to %s (%s)", condition, row.Variant, row.show(row.Old), row.show(row.New), row.said()))
		}
	}
	if !judged && !condition.ifTaken {
		c.Unjudged = append(c.Unjudged, fmt.Sprintf("%s: no variant has it in both runs", condition))
	}
	for _, reason := range reasons {
		c.Unjudged = append(c.Unjudged, fmt.Sprintf("%s for %s: %s", condition, table.List(variants[reason]), reason))
	}
}

// change is by how much the figure changed, of itself or as a share of the old one.
func (r Row) change(relative bool) float64 {
	if relative {
		return *r.Delta
	}
	return r.New.all.Median - r.Old.all.Median
}
