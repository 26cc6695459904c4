package bench

import (
	"context"

	"connbench/harness/build"
	"connbench/harness/explain"
	"connbench/harness/history"
	"connbench/harness/lab"
	"connbench/harness/limits"
	"connbench/harness/plan"
	"connbench/harness/suite"
	"connbench/harness/variant"
)

// Prediction is what bounds connections in a lab.
type Prediction struct {
	limits.Prediction
	// Cost is what memory and threads are counted by, nil where no run can be trusted; Untrusted then
	// says what is wrong with the newest, "" where there is none at all.
	Cost      *history.Cost `json:"cost"`
	Untrusted string        `json:"untrusted,omitempty"`
	// Warnings say what could not be read of the lab's hosts.
	Warnings []string `json:"warnings,omitempty"`
}

// Predict computes the limits of the lab that r asks for. Without a plan there is
// one port of one address for each server process.
func Predict(ctx context.Context, tree build.Tree, r Request) (Prediction, error) {
	var found Prediction
	p, err := r.toPredict()
	if err != nil {
		return found, err
	}
	choices, err := tree.Choose(p.Variants, p.Classes)
	if err != nil {
		return found, err
	}
	theLab, err := OpenLab(ctx, tree, p.Lab, p.Client.Engine)
	if err != nil {
		return found, err
	}
	defer theLab.Close()
	for _, host := range theLab.Hosts() {
		for _, warning := range host.Warnings {
			found.Warnings = append(found.Warnings, "host "+host.Facts.Name+": "+warning)
		}
	}
	if err := suite.Confine(p, theLab); err != nil {
		return found, err
	}
	err = found.predict(ctx, p, theLab, choices, history.Read(tree.Results))
	return found, err
}

// predict computes the limits of a lab for choices, with what the leanest of them took in
// earlier runs.
func (found *Prediction) predict(ctx context.Context, p plan.Plan, l *lab.Lab, choices []variant.Choice, runs history.Runs) (err error) {
	var cost limits.Cost
	if found.Cost, found.Untrusted = runs.LeastCost(choices, l.Name, p.Client.Engine); found.Cost != nil {
		cost = found.Cost.Limits()
	}
	found.Prediction, err = suite.Predict(ctx, p, l, choices, cost)
	return err
}

// defaultVariant is the one whose limits are predicted where nobody names any: it
// has none of its own.
const defaultVariant = "floor"

// toPredict is the plan whose limits are asked for: as many connections as there can
// be, unless r says how many.
func (r Request) toPredict() (plan.Plan, error) {
	p := plan.Default()
	p.Name, p.Variants = "limits", []string{defaultVariant}
	if r.Plan != "" {
		var err error
		if p, err = plan.LoadNamed(r.Plan); err != nil {
			return p, explain.Usage(err)
		}
	}
	p.Connections = plan.Max
	return r.apply(p)
}
