package figure

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"connbench/harness/record"
	"connbench/harness/stats"
	"connbench/harness/variant"
)

// Variant gathers the trials of one variant in one class.
type Variant struct {
	Name, Class, Model, Library string
	// Waived says which checks of the gate it does not pass, and why; "" for none.
	Waived string
	// Device is as in [record.Trial]: "" where connections are sockets of the kernel.
	Device string
	// Valid are the trials whose figures may be used, in the order they ran.
	Valid []*record.Trial
	// Invalid are those whose figures must not be used, Replaced the noisy ones
	// that have a quiet repetition among the valid.
	Invalid, Replaced []*record.Trial
}

// String is the variant as it is written on the command line, "gnet/tuned".
func (v Variant) String() string { return v.Name + "/" + v.Class }

// Labels names variants as briefly as can be: without the class where all have
// the same.
func Labels(variants []Variant) func(Variant) string {
	for _, v := range variants {
		if v.Class != variants[0].Class {
			return Variant.String
		}
	}
	return func(v Variant) string { return v.Name }
}

// Variants gathers a run's trials, in the order of the manifest; variants that it
// does not name follow in the order of their first trials. A variant of the
// manifest that has no trial is left out: it was not measured.
func Variants(run *record.Run) []Variant {
	replaced := Replaced(run)
	var order []string
	by := map[string]*Variant{}
	for i := range run.Trials {
		trial := &run.Trials[i]
		fresh := Variant{Name: trial.Variant, Class: trial.Class, Model: trial.Model, Library: trial.Library, Device: trial.Device}
		variant, known := by[fresh.String()]
		if !known {
			variant = &fresh
			by[fresh.String()] = variant
			order = append(order, fresh.String())
		}
		switch {
		case replaced[trial.Trial]:
			variant.Replaced = append(variant.Replaced, trial)
		case trial.Valid:
			variant.Valid = append(variant.Valid, trial)
		default:
			variant.Invalid = append(variant.Invalid, trial)
		}
	}
	position := func(key string) int {
		at := slices.IndexFunc(run.Manifest.Variants, func(v record.Variant) bool { return v.Name+"/"+v.Class == key })
		if at < 0 {
			return len(run.Manifest.Variants)
		}
		return at
	}
	slices.SortStableFunc(order, func(a, b string) int { return position(a) - position(b) })
	var variants []Variant
	for _, key := range order {
		v := *by[key]
		if at := position(key); at < len(run.Manifest.Variants) {
			v.Waived = waived(run.Manifest.Variants[at].Waives)
		}
		variants = append(variants, v)
	}
	return variants
}

// NoSockets is what a reader must know of a variant with a device.
const NoSockets = "no kernel sockets: the server runs its own TCP over a TUN device, and is not ranked with the others"

// Note is what a reader must know of the variant, "" for nothing.
func (v Variant) Note() string {
	switch {
	case v.Device == "":
		return v.Waived
	case v.Waived == "":
		return NoSockets
	}
	return NoSockets + "; " + v.Waived
}

// Apart are the variants with a device where others have the kernel's sockets: a different
// thing is measured, and neither is better than the other.
func Apart(variants []Variant) []Variant {
	apart := slices.DeleteFunc(slices.Clone(variants), func(v Variant) bool { return v.Device == "" })
	if len(apart) == len(variants) {
		return nil
	}
	return apart
}

// isApart says whether a variant is one of [Apart].
func isApart(v Variant, apart []Variant) bool { return v.Device != "" && len(apart) > 0 }

// waived is a text of waivers: the reasons, each with its check.
func waived(waivers map[string]string) string {
	var parts []string
	for _, check := range slices.Sorted(maps.Keys(waivers)) {
		parts = append(parts, fmt.Sprintf("%s (%s)", waivers[check], check))
	}
	return strings.Join(parts, "; ")
}

// Replaced tells, by their numbers, which noisy trials were run again on a quiet
// host with a valid result. That one counts in their place; which of the two had
// the better figures is not asked.
func Replaced(run *record.Run) map[int]bool {
	replaced := map[int]bool{}
	for _, trial := range run.Trials {
		if trial.Repeats != 0 && trial.Valid && !trial.Noisy {
			replaced[trial.Repeats] = true
		}
	}
	return replaced
}

// Values are a figure's values in the valid trials that took it and in which it may be
// believed; none where the trials contradict each other, see [Variant.Doubt].
func (v Variant) Values(f Figure) []float64 {
	values, _ := v.believed(f)
	return values
}

// Taken are the values of a figure as they were taken, whether or not they contradict
// each other.
func (v Variant) Taken(f Figure) stats.Summary {
	var values []float64
	for _, trial := range v.Valid {
		if value, _ := f.Among(trial); value != nil {
			values = append(values, *value)
		}
	}
	return stats.Summarize(values)
}

// Summary is what the valid trials say about a figure.
func (v Variant) Summary(f Figure) stats.Summary { return stats.Summarize(v.Values(f)) }

// Doubt says why a figure is not believed in some or all of the valid trials, "" where
// it is in all of them.
func (v Variant) Doubt(f Figure) string {
	_, doubt := v.believed(f)
	return doubt
}

// ClientBound says why a figure of the variant is the swarm's rather than the server's, ""
// where it is not. Half of the rounds are enough, because the median may be one of them.
func (v Variant) ClientBound(f Figure) string {
	if f.ClientBound == nil {
		return ""
	}
	taken, bound, reason := 0, 0, ""
	for _, trial := range v.Valid {
		if value, _ := f.Among(trial); value == nil {
			continue
		}
		taken++
		if text := f.ClientBound(trial); text != "" {
			bound++
			reason = text
		}
	}
	if bound == 0 || 2*bound < taken {
		return ""
	}
	return fmt.Sprintf("not ranked: %s in %d of %d rounds", reason, bound, taken)
}

// Caveat is what a reader must know of a variant's figure, "" for nothing: why it is not
// believed in some rounds or all, or why it is not ranked.
func (v Variant) Caveat(f Figure) string {
	doubt, bound := v.Doubt(f), v.ClientBound(f)
	if doubt != "" && bound != "" {
		return doubt + "; " + bound
	}
	return doubt + bound
}

// believed are the values that may be used, and why others may not.
func (v Variant) believed(f Figure) (values []float64, doubt string) {
	var taken []*record.Trial
	var reasons []string
	doubted := 0
	for _, trial := range v.Valid {
		value, doubt := f.Among(trial)
		switch {
		case doubt != "":
			doubted++
			if !slices.Contains(reasons, doubt) {
				reasons = append(reasons, doubt)
			}
		case value != nil:
			taken, values = append(taken, trial), append(values, *value)
		}
	}
	if f.Slope != nil {
		if doubt := f.Slope.contradicts(taken, stats.Summarize(values)); doubt != "" {
			return nil, doubt
		}
	}
	switch {
	case doubted == 0:
		return values, ""
	case len(values) == 0:
		return nil, strings.Join(reasons, "; ")
	}
	return values, fmt.Sprintf("%d of %d rounds left out: %s", doubted, doubted+len(values), strings.Join(reasons, "; "))
}

// Rank returns what the valid trials of each variant say about a figure, by the variant's
// index, and the order of the variants. Variants whose figure is client-bound, or is not
// believed, are not in the order, nor are those of [Apart].
func Rank(variants []Variant, f Figure) (summaries []stats.Summary, ranking stats.Ranking) {
	summaries = make([]stats.Summary, len(variants))
	ranked := make([]stats.Summary, len(variants)) // without values: not ranked
	apart := Apart(variants)
	for i, v := range variants {
		summaries[i] = v.Summary(f)
		if v.ClientBound(f) == "" && !isApart(v, apart) {
			ranked[i] = summaries[i]
		}
	}
	return summaries, stats.Rank(ranked)
}

// Any is a trial of the variant, nil if it has none.
func (v Variant) Any() *record.Trial {
	for _, t := range slices.Concat(v.Valid, v.Invalid) {
		return t
	}
	return nil
}

// FloorName is the variant that the others are read against: a server with no
// I/O library, the least that a Go process can pay.
const FloorName = "floor"

// IsFloor says whether v is the floor, in whichever protocol, compressed or not.
func (v Variant) IsFloor() bool {
	t := v.Any()
	return t != nil && variant.Plain(variant.Plain(v.Name, t.Protocol), t.Compression) == FloorName
}

// Floor is the variant to read another against: the floor that speaks the same protocol, and
// compresses in the same way or not at all, in the same class, else in any; nil when it was not
// measured.
func Floor(variants []Variant, of Variant) *Variant {
	layers := func(v Variant) (protocol, compression string) {
		if t := v.Any(); t != nil {
			return t.Protocol, t.Compression
		}
		return "", ""
	}
	protocol, compression := layers(of)
	var floor *Variant
	best := 0
	for i, variant := range variants {
		itsProtocol, itsCompression := layers(variant)
		if !variant.IsFloor() || len(variant.Valid) == 0 || itsProtocol != protocol || itsCompression != compression && itsCompression != "" {
			continue
		}
		score := 1
		if itsCompression == compression {
			score += 2
		}
		if variant.Class == of.Class {
			score++
		}
		if score > best {
			floor, best = &variants[i], score
		}
	}
	return floor
}
