// Package compare says how two runs differ: first their environments, and which
// figures can be compared at all because of that, then the figures themselves.
package compare

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	figures "connbench/harness/figure"
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
	// Failed and Unjudged are the conditions that came true, and those that could
	// not be judged.
	Failed   []string `json:"failed"`
	Unjudged []string `json:"unjudged"`

	failing []string // variants, each once
}

// FailedVariants are the variants for which a condition came true.
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
	// P is the p-value of the Mann-Whitney U test.
	P float64 `json:"p"`
	// Verdict is what may be said.
	Verdict Verdict `json:"verdict"`
	// Obstacle is the difference of the environments for which the figures cannot
	// be compared.
	Obstacle string `json:"obstacle,omitempty"`

	figure   figures.Figure
	headline bool
}

// Side is a figure in one of the runs.
type Side struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Rounds int     `json:"rounds"`

	summary stats.Summary
}

// Verdict is what may be said of a row.
type Verdict string

// The verdicts.
const (
	Better       Verdict = "better"
	Worse        Verdict = "worse"
	Same         Verdict = "within noise"   // no difference can be told
	TooFew       Verdict = "too few rounds" // no difference could be told
	Incomparable Verdict = "not comparable" // the environments differ in what the figure depends on
)

// Condition is a change that a comparison must not show, written as
// "rss_bytes>5%": the figure of any variant is more than 5 % larger than before,
// and not by chance. "delivered_per_second<-5%" is more than 5 % smaller.
type Condition struct {
	Figure figures.Figure
	// Above is true for >, false for <.
	Above bool
	// Share is the limit of the change, 0.05 for 5%.
	Share float64
	text  string
}

var condition = regexp.MustCompile(`^\s*([a-z0-9_.]+)\s*([<>])\s*([+-]?[0-9]+(?:\.[0-9]+)?)\s*%\s*$`)

// ParseCondition reads a condition; the error says what is wrong with it.
func ParseCondition(text string) (Condition, error) {
	parts := condition.FindStringSubmatch(text)
	if parts == nil {
		return Condition{}, fmt.Errorf("condition %q is not of the form rss_bytes>5%% or delivered_per_second<-5%%", text)
	}
	figure, err := figures.Find(parts[1])
	if err != nil {
		return Condition{}, fmt.Errorf("condition %q: %w", text, err)
	}
	share, err := strconv.ParseFloat(parts[3], 64)
	if err != nil {
		return Condition{}, fmt.Errorf("condition %q: %s is no number", text, parts[3])
	}
	return Condition{Figure: figure, Above: parts[2] == ">", Share: share / 100, text: strings.TrimSpace(text)}, nil
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

// exceeded is true when a change goes beyond the condition.
func (c Condition) exceeded(delta float64) bool {
	if c.Above {
		return delta > c.Share
	}
	return delta < c.Share
}

// Compare compares two runs; folders or trials files alike, see [record.Open].
// It is an error when they have no variant in common.
func Compare(old, new *record.Run, failOn []Condition) (Comparison, error) {
	c := Comparison{
		Old: old.Dir, New: new.Dir, Environment: differences(old, new),
		Notes: []string{}, Rows: []Row{}, Failed: []string{}, Unjudged: []string{},
	}
	for _, run := range []*record.Run{old, new} {
		if run.Manifest.Schema == 0 {
			c.Notes = append(c.Notes, fmt.Sprintf("%s is a trials file alone: on which machine it was made is not known, and so not whether its figures can be compared", run.Dir))
		}
	}
	before, after := figures.Variants(old), figures.Variants(new)
	pairs := c.pair(before, after)
	if len(pairs) == 0 {
		return c, errors.New("the two runs have no variant in common that has valid trials in both: there is nothing to compare")
	}
	for _, figure := range ordered(old, new) {
		for _, pair := range pairs {
			if row, ok := c.row(figure, pair[0], pair[1]); ok {
				c.Rows = append(c.Rows, row)
			}
		}
	}
	for _, condition := range failOn {
		c.judge(condition)
	}
	return c, nil
}

// ordered are all figures of two runs, those of the tables first.
func ordered(old, new *record.Run) []figures.Figure {
	all := figures.Of(old, new)
	list := slices.DeleteFunc(slices.Clone(all), func(f figures.Figure) bool { return !isHeadline(f) })
	return append(list, slices.DeleteFunc(all, isHeadline)...)
}

func isHeadline(figure figures.Figure) bool {
	return figure.In(figures.TableComparison)
}

// pair finds the variants with valid trials in both runs, and notes the others.
func (c *Comparison) pair(before, after []figures.Variant) (pairs [][2]figures.Variant) {
	find := func(list []figures.Variant, name string) (figures.Variant, bool) {
		i := slices.IndexFunc(list, func(v figures.Variant) bool { return v.String() == name && len(v.Valid) > 0 })
		if i < 0 {
			return figures.Variant{}, false
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
			pairs = append(pairs, [2]figures.Variant{v, other})
		}
	}
	for _, v := range after {
		if !slices.ContainsFunc(before, func(o figures.Variant) bool { return o.String() == v.String() }) {
			c.Notes = append(c.Notes, fmt.Sprintf("%s is only in %s", v, c.New))
		}
	}
	return pairs
}

func (c *Comparison) row(figure figures.Figure, old, new figures.Variant) (Row, bool) {
	a, b := old.Summary(figure), new.Summary(figure)
	if a.N() == 0 || b.N() == 0 || figure.Better == figures.None {
		return Row{}, false
	}
	row := Row{
		Figure: figure.Name, Unit: figure.Unit.Name, Variant: old.String(), Old: side(a), New: side(b),
		Obstacle: c.obstacle(figure), figure: figure, headline: isHeadline(figure),
	}
	if userCPU(figure) && row.Obstacle == "" { // stands for the whole where that may not be compared
		whole := figures.Must(strings.Replace(figure.Name, "_user_us", "_us", 1))
		row.headline = row.headline || c.obstacle(whole) != ""
	}
	if a.Median > 0 && a.Spread() < 1 {
		delta := b.Median/a.Median - 1
		row.Delta = &delta
	}
	test := stats.Compare(a.Values, b.Values)
	row.P = test.P
	switch {
	case row.Obstacle != "":
		row.Verdict = Incomparable
	case test.Undecided:
		row.Verdict = TooFew
	case !test.Different:
		row.Verdict = Same
	case (b.Median > a.Median) == (figure.Better == figures.Higher):
		row.Verdict = Better
	default:
		row.Verdict = Worse
	}
	return row, true
}

func side(s stats.Summary) Side {
	return Side{Median: s.Median, Low: s.Low, High: s.High, Rounds: s.N(), summary: s}
}

// obstacle is the first difference that spoils a figure.
func (c *Comparison) obstacle(figure figures.Figure) string {
	for _, d := range c.Environment {
		if d.spoils != nil && d.spoils(figure) {
			return d.Name
		}
	}
	return ""
}

// judge finds the rows that go beyond a condition. Only a change that is no
// chance counts.
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
		case row.Verdict == Incomparable:
			unjudged(row.Variant, "the environments differ in "+row.Obstacle)
		case row.Verdict == TooFew:
			unjudged(row.Variant, fmt.Sprintf("too few rounds, %d and %d", row.Old.Rounds, row.New.Rounds))
		case row.Verdict == Same:
		case row.Delta == nil:
			unjudged(row.Variant, fmt.Sprintf("no share can be told of what was as good as 0: %s, now %s", row.show(row.Old), row.show(row.New)))
		case condition.exceeded(*row.Delta):
			if !slices.Contains(c.failing, row.Variant) {
				c.failing = append(c.failing, row.Variant)
			}
			c.Failed = append(c.Failed, fmt.Sprintf("%s: %s went from %s to %s (%s)", condition, row.Variant, row.show(row.Old), row.show(row.New), row.said()))
		}
	}
	if !judged {
		c.Unjudged = append(c.Unjudged, fmt.Sprintf("%s: no variant has it in both runs", condition))
	}
	for _, reason := range reasons {
		c.Unjudged = append(c.Unjudged, fmt.Sprintf("%s for %s: %s", condition, table.List(variants[reason]), reason))
	}
}
